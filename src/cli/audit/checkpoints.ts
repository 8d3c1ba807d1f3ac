import { CopiedLogs } from '../../audit/checkpoints/verify/copiedLogs.ts'
import { openCopy } from '../../audit/checkpoints/verify/copy.ts'
import { checkpointTable, newestCheckpoints } from '../../audit/checkpoints/verify/queries.ts'
import { StoredLogs } from '../../audit/checkpoints/verify/storedLogs.ts'
import {
  type Acknowledged,
  type CheckpointFinding,
  type VerifiedCheckpoints,
  type VerifyCheckpointsOptions,
  verifyCheckpoints,
} from '../../audit/checkpoints/verify/verify.ts'
import { interruption } from '../database.ts'
import { amount, escapeControlCharacters, out, painter, progress, showTable } from '../terminal.ts'
import { readPublicKeys } from './publicKeys.ts'
import { withSources } from './sources.ts'

export async function listCheckpoints({ limit, json }: { limit: number; json?: true }): Promise<void> {
  const found = await withSources(({ db }) => newestCheckpoints(db, limit))
  if (json) for (const it of found) out(`${JSON.stringify(it)}\n`)
  else if (found.length === 0) out('No checkpoint. Nodes take them where they have a key (docs/proofs.md).\n')
  else {
    showTable([
      ['NUMBER', 'TIME', 'SESSIONS', 'KEY', 'SHA256'],
      ...found.map((it) => [
        String(it.number),
        it.time.slice(0, 19),
        amount(it.leaves),
        it.key_id,
        it.sha256,
      ]),
    ])
  }
}

export interface VerifyRequest {
  readonly publicKey?: string[]
  readonly from?: string
  readonly anchor?: string[]
  readonly since: number
  readonly json?: true
}

/** Verifies, and says what was found. Whether all is right; not that, either, when there was nothing to verify. */
export async function verifyAll({
  publicKey,
  from,
  anchor = [],
  since,
  json,
}: VerifyRequest): Promise<boolean> {
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
    onAcknowledged: (it: Acknowledged) => {
      acknowledged += 1
      line.clear()
      if (!json) out(lineOfAcknowledged(it))
    },
    onProgress: (it: VerifiedCheckpoints) =>
      line.show(`${amount(it.checkpoints)} checkpoints, ${amount(it.leaves)} leaves verified`),
  }
  const { verified, absent } =
    from === undefined ? await verifyStored(common) : await verifyCopied(from, common)
  line.clear()
  const isRight = findings === 0 && verified.checkpoints > 0
  if (json)
    out(
      `${JSON.stringify({ ...verified, absent, signatures: keys !== undefined, acknowledged, findings })}\n`,
    )
  else out(summary(verified, absent, keys !== undefined, findings))
  return isRight
}

type Common = Pick<
  VerifyCheckpointsOptions,
  'keys' | 'anchors' | 'since' | 'onFinding' | 'onAcknowledged' | 'onProgress'
>

interface Result {
  readonly verified: VerifiedCheckpoints
  /** Leaves of events that are not in the copy. */
  readonly absent: number
}

function verifyStored(common: Common): Promise<Result> {
  return withSources(async ({ db, store, signal }) => {
    const logs = new StoredLogs(db, store)
    return {
      verified: await verifyCheckpoints({ ...common, store, table: checkpointTable(db), logs, signal }),
      absent: 0,
    }
  })
}

async function verifyCopied(directory: string, common: Common): Promise<Result> {
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
  const what = `${amount(checkpoints)} checkpoints, ${amount(leaves)} leaves: ${findings === 0 ? 'nothing is wrong' : `${amount(findings)} findings`}.\n`
  const where = `The newest is ${last.number}, of ${last.time}: ${last.sha256}\n`
  const left = absent === 0 ? '' : `${amount(absent)} leaves are of events that are not in the copy.\n`
  const signed = areSigned ? '' : 'Signatures were NOT checked: give --public-key.\n'
  return what + where + left + signed
}
