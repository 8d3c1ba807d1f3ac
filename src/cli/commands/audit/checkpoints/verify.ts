import { Command } from 'commander'
import type {
  Acknowledged,
  CheckpointFinding,
  VerifiedCheckpoints,
  VerifyCheckpointsOptions,
} from '../../../../audit/checkpoints/verify/verify.ts'
import { readPublicKeys } from '../../../audit/publicKeys.ts'
import { EXIT, setExitCode, UsageError } from '../../../exit.ts'
import { integer } from '../../../optionValues.ts'
import { amount, escapeControlCharacters, out, painter, progress } from '../../../terminal.ts'

interface Options {
  readonly publicKey?: string[]
  readonly from?: string
  readonly anchor?: string[]
  readonly since: number
  readonly json?: true
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('Verify the chain of checkpoints, their signatures, and that the logs are what was signed.')
    .option('--public-key <files...>', 'trusted public keys (PEM); without them signatures are not checked')
    .option('--from <directory>', 'verify a copy of the bucket alone, without Postgres')
    .option('--anchor <sha256...>', 'hashes of published checkpoints, each of which must be found')
    .option('--since <number>', 'skip the leaves of checkpoints before this one', integer('--since', 1), 1)
    .option('--json', 'print one JSON object per finding, one per line, then a summary')
    .addHelpText(
      'after',
      `
Uses the environment of a node, which may go on meanwhile. docs/proofs.md explains each finding. Exit code 1 when something
is wrong, or when there is nothing to verify.

  starcite audit checkpoints verify --public-key checkpoint-public.pem
  aws s3 sync s3://bucket/starcite ./copy && starcite audit checkpoints verify --from ./copy --public-key checkpoint-public.pem`,
    )
    .action(verifyAll)
}

async function verifyAll({ publicKey, from, anchor = [], since, json }: Options): Promise<void> {
  for (const digest of anchor)
    if (!/^[0-9a-f]{64}$/.test(digest))
      throw new UsageError(`--anchor must be 64 hexadecimal digits; it is ${JSON.stringify(digest)}`)
  const keys = publicKey && (await readPublicKeys(publicKey))
  const line = progress(process.stderr)
  let findings = 0
  let acknowledged = 0
  const common = {
    keys,
    anchors: anchor,
    since,
    onFinding: (finding: CheckpointFinding) => {
      findings += 1
      line.clear()
      out(json ? `${JSON.stringify(wireFinding(finding))}\n` : lineOf(finding))
    },
    onAcknowledged: (discontinuity: Acknowledged) => {
      acknowledged += 1
      line.clear()
      if (!json) out(lineOfAcknowledged(discontinuity))
    },
    onProgress: ({ checkpoints, leaves }: VerifiedCheckpoints) =>
      line.show(`${amount(checkpoints)} checkpoints, ${amount(leaves)} leaves verified`),
  }
  const { verified, absent } =
    from === undefined ? await verifyStored(common) : await verifyCopied(from, common)
  line.clear()
  const signatures = keys !== undefined
  if (json) out(`${JSON.stringify({ ...verified, absent, signatures, acknowledged, findings })}\n`)
  else out(summary(verified, absent, signatures, findings))
  if (findings > 0 || verified.checkpoints === 0) setExitCode(EXIT.failed)
}

type Common = Pick<
  VerifyCheckpointsOptions,
  'keys' | 'anchors' | 'since' | 'onFinding' | 'onAcknowledged' | 'onProgress'
>

interface Result {
  readonly verified: VerifiedCheckpoints
  /** Number of leaves whose events are not in the copy. */
  readonly absent: number
}

async function verifyStored(common: Common): Promise<Result> {
  const [{ withSources }, { checkpointTable }, { StoredLogs }, { verifyCheckpoints }] = await Promise.all([
    import('../../../sources.ts'),
    import('../../../../audit/checkpoints/verify/queries.ts'),
    import('../../../../audit/checkpoints/verify/storedLogs.ts'),
    import('../../../../audit/checkpoints/verify/verify.ts'),
  ])
  return withSources(async ({ db, store, signal }) => {
    const logs = new StoredLogs(db, store)
    return {
      verified: await verifyCheckpoints({ ...common, store, table: checkpointTable(db), logs, signal }),
      absent: 0,
    }
  })
}

async function verifyCopied(directory: string, common: Common): Promise<Result> {
  const [{ interruption }, { openCopy }, { CopiedLogs }, { verifyCheckpoints }] = await Promise.all([
    import('../../../interruption.ts'),
    import('../../../../audit/checkpoints/verify/copy.ts'),
    import('../../../../audit/checkpoints/verify/copiedLogs.ts'),
    import('../../../../audit/checkpoints/verify/verify.ts'),
  ])
  const copy = await openCopy(directory)
  const logs = new CopiedLogs(copy)
  const verified = await verifyCheckpoints({ ...common, store: copy, logs, signal: interruption() })
  return { verified, absent: logs.absent }
}

const wireFinding = ({ reason, number, detail, log }: CheckpointFinding) => ({
  reason,
  number,
  detail,
  ...(log && { tenant: log.tenantId, session: log.sessionId, seq: log.seq }),
})

function lineOf({ reason, number, detail, log }: CheckpointFinding): string {
  const paint = painter(process.stdout)
  const where = log && ` ${escapeControlCharacters(`${log.tenantId} ${log.sessionId}`)} ${log.seq}`
  const which = number === 0 ? '' : ` checkpoint ${number}`
  return `${paint('red', '✗')}${which}${where ?? ''}: ${paint('bold', reason)}: ${escapeControlCharacters(detail)}\n`
}

function lineOfAcknowledged({ number, log, discontinuity }: Acknowledged): string {
  const paint = painter(process.stdout)
  const where = escapeControlCharacters(`${log.tenantId} ${log.sessionId}`)
  const signed = `checkpoint ${discontinuity.number} signed event ${discontinuity.seq}`
  return `${paint('yellow', '!')} checkpoint ${number} ${where}: acknowledged: ${signed}: ${escapeControlCharacters(discontinuity.reason)}\n`
}

function summary(
  { checkpoints, leaves, last }: VerifiedCheckpoints,
  absent: number,
  areSigned: boolean,
  findings: number,
): string {
  if (last === undefined) return 'There was no checkpoint to verify.\n'
  const result = findings === 0 ? 'nothing is wrong' : `${amount(findings)} findings`
  const what = `${amount(checkpoints)} checkpoints, ${amount(leaves)} leaves: ${result}.\n`
  const newest = `The newest is ${last.number}, of ${last.time}: ${last.sha256}\n`
  const left = absent === 0 ? '' : `${amount(absent)} leaves are of events that are not in the copy.\n`
  const signed = areSigned ? '' : 'Signatures were NOT checked: give --public-key.\n'
  return what + newest + left + signed
}
