import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { type ChainVersion, chainStep, genesisHash } from '../../archive/chain.ts'
import { EventHasher } from '../../archive/eventHasher.ts'
import { SALVAGE_BYTES, wholeLines } from '../../archive/gunzip.ts'
import type { Problem } from '../../archive/problem.ts'
import { mapAhead } from '../../lib/mapAhead.ts'
import type { Finding } from '../finding.ts'
import type { Scope } from '../read/scope.ts'
import { findObjects, type ObjectFile } from './copyFiles.ts'
import { boundsOf } from './damagedObject.ts'
import type { KnownHashes } from './knownHashes.ts'
import { firstDiffering } from './overlaps.ts'
import { type Run, Runs } from './runs.ts'
import type { Verified } from './verifyDatabase.ts'

export interface VerifiedCopy extends Verified {
  files: number
  fileBytes: number
  totalFileBytes: number
  /** Files that are not objects of Starcite. */
  others: number
}

export interface VerifyCopyOptions {
  readonly directory: string
  readonly signal: AbortSignal
  readonly scope: Pick<Scope, 'tenant' | 'session'>
  readonly kept?: KnownHashes
  readonly onFinding: (finding: Finding) => void
  readonly onProgress?: (verified: Readonly<VerifiedCopy>) => void
}

/** Objects in memory beside the current one. */
const FILES_AHEAD = 2

/** The end of the verified part of a session's chain. */
interface End {
  next: number
  /** Lower-case hex. */
  hash: string
  version: ChainVersion
}

/**
 * Verifies a copy of the bucket by itself, without a database: every object against its name, and the chain of every
 * session in it from the beginning, over all segments. It cannot know of events that are still in Postgres; it
 * reports a gap before events that it has. Events that occur twice, as an interrupted erasure or move leaves them,
 * are valid when they agree. Keeps some hundred bytes for each session of one tenant in memory.
 */
export async function verifyCopy(options: VerifyCopyOptions): Promise<VerifiedCopy> {
  const { directory, scope } = options
  const found = await findObjects(directory)
  const files = found.files.filter(({ tenant }) => scope.tenant === undefined || scope.tenant === tenant)
  const verified: VerifiedCopy = {
    ...{ sessions: 0, events: 0, redacted: 0, bytes: 0, files: 0, fileBytes: 0, others: found.others },
    totalFileBytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
  }
  for (const ofTenant of groupedBy(files, (it) => it.tenant))
    await new TenantCopy(options, (ofTenant[0] as ObjectFile).tenant, verified).verify(ofTenant)
  return verified
}

class TenantCopy {
  readonly #options: VerifyCopyOptions
  readonly #tenant: string
  readonly #verified: VerifiedCopy
  readonly #hasher = new EventHasher()
  readonly #ends = new Map<string, End>()
  readonly #problems = new Map<string, Problem>()
  /** The problems that the lines of the current object have shown. */
  readonly #ofFile = new Map<string, Problem>()

  constructor(options: VerifyCopyOptions, tenant: string, verified: VerifiedCopy) {
    this.#options = options
    this.#tenant = tenant
    this.#verified = verified
  }

  async verify(files: readonly ObjectFile[]): Promise<void> {
    for (const ofSegment of groupedBy(files, (it) => it.segment)) await this.#verifySegment(ofSegment)
    this.#verified.sessions += this.#ends.size
    for (const [session, problem] of this.#problems)
      this.#options.onFinding({ tenant: this.#tenant, session, ...problem })
  }

  async #verifySegment(files: readonly ObjectFile[]): Promise<void> {
    const { kept, scope, signal } = this.#options
    const runs = new Runs({
      hasher: this.#hasher,
      tenant: this.#tenant,
      kept,
      session: scope.session,
      onProblem: (session, problem) => {
        this.#note(session, problem)
        if (!this.#ofFile.has(session)) this.#ofFile.set(session, problem)
      },
    })
    const bodies = mapAhead(files, FILES_AHEAD, async (file) => ({ file, body: await readFile(file.path) }))
    for await (const { file, body } of bodies) {
      signal.throwIfAborted()
      await this.#verifyFile(file, body, runs)
    }
    for (const [session, ofSession] of runs.bySession) await this.#join(session, ofSession, files)
  }

  async #verifyFile(file: ObjectFile, body: Buffer, runs: Runs): Promise<void> {
    const verified = this.#verified
    const before = { events: runs.events, redacted: runs.redacted }
    this.#ofFile.clear()
    const isAsNamed = hash('sha256', body, 'hex') === file.sha256
    let fault = isAsNamed ? undefined : 'its sha256 is not the one in its name'
    try {
      for await (const text of wholeLines(body, isAsNamed ? undefined : SALVAGE_BYTES)) {
        verified.bytes += text.length
        runs.add(text)
      }
    } catch (error) {
      fault = [fault, (error as Error).message].filter((it) => it !== undefined).join('; ')
    }
    runs.endObject()
    if (fault !== undefined) await this.#noteFile(file, body, fault)
    verified.events += runs.events - before.events
    verified.redacted += runs.redacted - before.redacted
    verified.files += 1
    verified.fileBytes += file.bytes
    this.#options.onProgress?.(verified)
  }

  /**
   * Reports an object that was changed, with the position of the fault as far as it can be found, else with its first
   * event.
   */
  async #noteFile(file: ObjectFile, body: Buffer, detail: string): Promise<void> {
    const problem = (seq: number, what = detail): Problem => ({
      seq,
      reason: 'object_changed',
      detail: `${file.path}: ${what}`,
    })
    if (this.#ofFile.size > 0) {
      for (const [session, it] of this.#ofFile)
        this.#note(session, problem(it.seq, `${detail}; in it: ${it.detail}`))
      return
    }
    const { first, last, isWhole } = await boundsOf(body)
    if (first === undefined || last === undefined)
      this.#options.onFinding({ tenant: this.#tenant, session: '', ...problem(0) })
    else if (isWhole) this.#note(first.session, problem(first.seq))
    else
      this.#note(last.session, problem(last.seq + 1, `${detail}, after event ${last.seq} of ${last.session}`))
  }

  /** Keeps the first wrong event of each session, and prefers an object's fault to what follows from it. */
  #note(session: string, problem: Problem): void {
    const known = this.#problems.get(session)
    if (known !== undefined && known.seq < problem.seq) return
    if (known?.seq === problem.seq && problem.reason !== 'object_changed') return
    this.#problems.set(session, problem)
  }

  async #join(session: string, runs: Run[], files: readonly ObjectFile[]): Promise<void> {
    const end = this.#endOf(session)
    runs.sort((a, b) => a.firstSeq - b.firstSeq || a.lastSeq - b.lastSeq)
    const joined: Run[] = []
    for (const run of runs) {
      if (run.firstSeq < end.next) {
        if (joined.some((it) => isSame(it, run))) continue
        const problem = await this.#compareOverlap(session, run, joined, files)
        if (problem !== undefined) this.#note(session, problem)
      } else if (run.firstSeq > end.next)
        this.#note(session, {
          seq: end.next,
          reason: 'missing',
          detail: `${run.firstSeq} comes after ${end.next - 1}`,
        })
      else if (run.firstVersion < end.version)
        this.#note(session, {
          seq: run.firstSeq,
          reason: 'broken',
          detail: `its chain has form ${run.firstVersion}, and the event before has form ${end.version}`,
        })
      else if (hashAfter(end, run) !== run.firstHash)
        this.#note(session, {
          seq: run.firstSeq,
          reason: 'broken',
          detail: 'its hash does not follow from the event before and its fields',
        })
      joined.push(run)
      if (run.lastSeq < end.next) continue
      end.next = run.lastSeq + 1
      end.hash = run.lastHash
      end.version = run.lastVersion
    }
  }

  /**
   * Compares runs that overlap without being the same: they come from objects that were cut differently, and must
   * agree.
   */
  async #compareOverlap(
    session: string,
    run: Run,
    joined: readonly Run[],
    files: readonly ObjectFile[],
  ): Promise<Problem | undefined> {
    const isOfThisSegment = joined.some((it) => it.firstSeq <= run.firstSeq && it.lastSeq >= run.firstSeq)
    const differs = isOfThisSegment ? await firstDiffering(files, session) : run.firstSeq
    if (differs === undefined) return undefined
    return { seq: differs, reason: 'duplicate', detail: 'the log has it twice, with different contents' }
  }

  #endOf(session: string): End {
    let end = this.#ends.get(session)
    if (end === undefined) {
      end = { next: 1, hash: genesisHash(this.#tenant, session).toString('hex'), version: 1 }
      this.#ends.set(session, end)
    }
    return end
  }
}

const isSame = (a: Run, b: Run) =>
  a.firstSeq === b.firstSeq &&
  a.lastSeq === b.lastSeq &&
  a.firstHash === b.firstHash &&
  a.lastHash === b.lastHash

const hashAfter = (end: End, { firstVersion, firstLink }: Run) =>
  chainStep(firstVersion, Buffer.from(end.hash, 'hex'), firstLink).toString('hex')

function* groupedBy<T>(items: readonly T[], keyOf: (item: T) => string): Generator<T[]> {
  for (let from = 0; from < items.length; ) {
    let to = from + 1
    while (to < items.length && keyOf(items[to] as T) === keyOf(items[from] as T)) to += 1
    yield items.slice(from, to)
    from = to
  }
}
