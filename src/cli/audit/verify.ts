import { readFile } from 'node:fs/promises'
import type { Finding } from '../../audit/finding.ts'
import { countScope } from '../../audit/read/queries.ts'
import { type KnownHashes, readKnownHashes } from '../../audit/verify/knownHashes.ts'
import { type VerifiedCopy, verifyCopy } from '../../audit/verify/verifyCopy.ts'
import { type Verified, verifyDatabase } from '../../audit/verify/verifyDatabase.ts'
import { interruption } from '../database.ts'
import { UsageError } from '../exit.ts'
import { amount, escapeControlCharacters, out, painter } from '../terminal.ts'
import { Meter } from './meter.ts'
import { requireScope, withSources } from './sources.ts'
import { tenantOf } from './tenant.ts'

export interface VerifyRequest {
  readonly session: string | undefined
  readonly tenant: string | undefined
  readonly all: true | undefined
  readonly from: string | undefined
  readonly heads: string | undefined
  readonly json: true | undefined
}

/** Verifies, and says what was found. Whether all is right; not that, either, when there was nothing to verify. */
export async function verify(request: VerifyRequest): Promise<boolean> {
  const meter = new Meter('verified')
  const kept = await knownHashes(request.heads)
  let findings = 0
  const onFinding = (finding: Finding) => {
    findings += 1
    meter.clear()
    out(request.json ? `${JSON.stringify(finding)}\n` : line(finding))
  }
  const common = { onFinding, ...(kept && { kept }) }
  const verified =
    request.from === undefined
      ? await verifyStored(request, common, meter)
      : await verifyDirectory(request, request.from, common, meter)
  meter.clear()
  if (request.json) out(`${JSON.stringify({ ...verified, findings, seconds: meter.seconds })}\n`)
  else out(summary(verified, findings, meter.seconds))
  return findings === 0 && verified.sessions > 0
}

interface Common {
  readonly onFinding: (finding: Finding) => void
  readonly kept?: KnownHashes
}

function verifyStored(request: VerifyRequest, common: Common, meter: Meter): Promise<Verified> {
  const scope = { ...tenantOf(request), ...sessionOf(request) }
  return withSources(async ({ db, store, signal }) => {
    await requireScope(db, scope)
    const total = meter.isShown ? (await countScope(db, scope)).events : 0
    return verifyDatabase({
      ...common,
      db,
      store,
      signal,
      scope,
      onProgress: (it) => meter.show(it, total > 0 ? it.events / total : undefined),
    })
  })
}

function verifyDirectory(
  request: VerifyRequest,
  directory: string,
  common: Common,
  meter: Meter,
): Promise<VerifiedCopy> {
  const { tenant } = request
  return verifyCopy({
    ...common,
    directory,
    signal: interruption(),
    scope: { ...(tenant !== undefined && { tenant }), ...sessionOf(request) },
    onProgress: (it) => meter.show(it, it.totalFileBytes > 0 ? it.fileBytes / it.totalFileBytes : undefined),
  })
}

const sessionOf = ({ session }: VerifyRequest) => (session === undefined ? {} : { session })

async function knownHashes(file: string | undefined): Promise<KnownHashes | undefined> {
  if (file === undefined) return undefined
  try {
    return readKnownHashes(await readFile(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`--heads ${file}: ${(error as Error).message}`)
  }
}

function line({ tenant, session, seq, reason, detail }: Finding): string {
  const paint = painter(process.stdout)
  return `${paint('red', '✗')} ${escapeControlCharacters(`${tenant} ${session}`)} ${seq}: ${paint('bold', reason)}: ${escapeControlCharacters(detail)}\n`
}

function summary(verified: Verified | VerifiedCopy, findings: number, seconds: number): string {
  if (verified.sessions === 0 && findings === 0)
    return `There was nothing to verify. --tenant says whose sessions; --all is everybody's.\n`
  const { sessions, events, redacted } = verified
  const files = 'files' in verified ? ` in ${counted(verified.files, 'object')}` : ''
  const erased = redacted === 0 ? '' : `, of ${amount(redacted)} the content was erased`
  const what = `${counted(sessions, 'session')}, ${counted(events, 'event')}${files}${erased}, in ${seconds.toFixed(1)} s`
  return findings === 0 ? `${what}: nothing is wrong.\n` : `${what}: ${counted(findings, 'finding')}.\n`
}

const counted = (n: number, thing: string) => `${amount(n)} ${thing}${n === 1 ? '' : 's'}`
