import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import type { Finding } from '../../../audit/finding.ts'
import { type KnownHashes, readKnownHashes } from '../../../audit/verify/knownHashes.ts'
import type { VerifiedCopy } from '../../../audit/verify/verifyCopy.ts'
import type { Verified } from '../../../audit/verify/verifyDatabase.ts'
import { Meter } from '../../audit/meter.ts'
import { EXIT, setExitCode, UsageError } from '../../exit.ts'
import { type TenantOptions, tenantOf, withTenant } from '../../tenant.ts'
import { amount, escapeControlCharacters, out, painter } from '../../terminal.ts'

interface Options extends TenantOptions {
  readonly from?: string
  readonly heads?: string
  readonly json?: true
}

export function verifyCommand(): Command {
  return withTenant(new Command('verify'))
    .description('Recompute the hash chains of one session, or of all sessions, and report what is wrong.')
    .argument('[session]', 'session id (default: every session of the tenant)')
    .option('--from <directory>', 'verify a copy of the bucket alone, without Postgres')
    .option('--heads <file>', 'hashes that you have kept: NDJSON of tenant_id, session_id, seq, hash')
    .option('--json', 'print one JSON object per finding, one per line, then a summary')
    .addHelpText(
      'after',
      `
Uses the environment of a node. It reads events in Postgres and in objects, checks the objects against the manifest, and
follows each chain from its beginning to the head. Nodes may go on meanwhile. With --from it reads only what \`aws s3 sync\`
has copied, and verifies every tenant in it unless --tenant names one. Exit code 1 when something is wrong, or when there
is nothing to verify.

  starcite audit verify ses_demo
  starcite audit verify --all --json
  aws s3 sync s3://bucket/starcite ./copy && starcite audit verify --from ./copy`,
    )
    .action(verify)
}

async function verify(session: string | undefined, options: Options): Promise<void> {
  if (session !== undefined && options.all) throw new UsageError('--all and a session exclude each other')
  const tenant = tenantOf(options)
  const ofSession = session === undefined ? {} : { session }
  const kept = await knownHashes(options.heads)
  const meter = new Meter('verified')
  let findings = 0
  const common = {
    ...(kept && { kept }),
    onFinding: (finding: Finding) => {
      findings += 1
      meter.clear()
      out(options.json ? `${JSON.stringify(finding)}\n` : lineOf(finding))
    },
  }
  const verified =
    options.from === undefined
      ? await verifyStored({ ...tenant, ...ofSession }, common, meter)
      : await verifyDirectory(
          options.from,
          { ...(options.tenant !== undefined && { tenant: options.tenant }), ...ofSession },
          common,
          meter,
        )
  meter.clear()
  if (options.json) out(`${JSON.stringify({ ...verified, findings, seconds: meter.seconds })}\n`)
  else out(summary(verified, findings, meter.seconds))
  if (findings > 0 || verified.sessions === 0) setExitCode(EXIT.failed)
}

interface Scope {
  readonly tenant?: string
  readonly session?: string
}

interface Common {
  readonly onFinding: (finding: Finding) => void
  readonly kept?: KnownHashes
}

async function verifyStored(scope: Scope, common: Common, meter: Meter): Promise<Verified> {
  const [{ requireScope, withSources }, { countScope }, { verifyDatabase }] = await Promise.all([
    import('../../sources.ts'),
    import('../../../audit/read/queries.ts'),
    import('../../../audit/verify/verifyDatabase.ts'),
  ])
  return withSources(async ({ db, store, signal }) => {
    await requireScope(db, scope)
    const total = meter.isShown ? (await countScope(db, scope)).events : 0
    return verifyDatabase({
      ...common,
      db,
      store,
      signal,
      scope,
      onProgress: (done) => meter.show(done, total > 0 ? done.events / total : undefined),
    })
  })
}

async function verifyDirectory(
  directory: string,
  scope: Scope,
  common: Common,
  meter: Meter,
): Promise<VerifiedCopy> {
  const [{ interruption }, { verifyCopy }] = await Promise.all([
    import('../../interruption.ts'),
    import('../../../audit/verify/verifyCopy.ts'),
  ])
  return verifyCopy({
    ...common,
    directory,
    scope,
    signal: interruption(),
    onProgress: (done) =>
      meter.show(done, done.totalFileBytes > 0 ? done.fileBytes / done.totalFileBytes : undefined),
  })
}

async function knownHashes(file: string | undefined): Promise<KnownHashes | undefined> {
  if (file === undefined) return undefined
  try {
    return readKnownHashes(await readFile(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`--heads ${file}: ${(error as Error).message}`)
  }
}

function lineOf({ tenant, session, seq, reason, detail }: Finding): string {
  const paint = painter(process.stdout)
  return `${paint('red', '✗')} ${escapeControlCharacters(`${tenant} ${session}`)} ${seq}: ${paint('bold', reason)}: ${escapeControlCharacters(detail)}\n`
}

function summary(verified: Verified | VerifiedCopy, findings: number, seconds: number): string {
  if (verified.sessions === 0 && findings === 0)
    return 'There was nothing to verify. --tenant names a tenant; --all verifies every tenant.\n'
  const { sessions, events, redacted } = verified
  const files = 'files' in verified ? ` in ${counted(verified.files, 'object')}` : ''
  const erased = redacted === 0 ? '' : `, ${amount(redacted)} of them with erased content`
  const what = `${counted(sessions, 'session')}, ${counted(events, 'event')}${files}${erased}, in ${seconds.toFixed(1)} s`
  return findings === 0 ? `${what}: nothing is wrong.\n` : `${what}: ${counted(findings, 'finding')}.\n`
}

const counted = (n: number, thing: string) => `${amount(n)} ${thing}${n === 1 ? '' : 's'}`
