import { EventHasher } from '../../archive/eventHasher.ts'
import type { Problem } from '../../archive/problem.ts'
import { SessionChain } from '../../archive/sessionChain.ts'
import type { Db } from '../../db/pool.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import type { Finding } from '../finding.ts'
import type { Scope, SessionHead } from '../read/scope.ts'
import type { Fault, SessionLog } from '../read/sessionLog.ts'
import { SessionReader } from '../read/sessionReader.ts'
import { type KnownHashes, KnownHashesOfSession, unseen } from './knownHashes.ts'
import { ObjectDigests } from './objectDigests.ts'
import * as queries from './queries.ts'

export interface Verified {
  sessions: number
  events: number
  /** Events whose content was erased; included in `events`. */
  redacted: number
  /** Bytes of lines, uncompressed. */
  bytes: number
}

export interface VerifyOptions {
  readonly db: Db
  readonly store: ObjectStore
  readonly signal: AbortSignal
  /** Whole logs are verified: the times of the scope do not apply. */
  readonly scope: Pick<Scope, 'tenant' | 'session'>
  /** Known hashes that the chains must contain. */
  readonly kept?: KnownHashes
  readonly onFinding: (finding: Finding) => void
  readonly onProgress?: (verified: Readonly<Verified>) => void
}

/**
 * Verifies logs as they are stored, in Postgres and in objects: each session's chain from its beginning to the head
 * that it had when its reading began, every digest, and every object of a tenant. Reports one finding a session, its
 * first. Appends, moves and erasures may continue meanwhile. Rejects when Postgres or the store cannot be read.
 */
export async function verifyDatabase(options: VerifyOptions): Promise<Verified> {
  const { db, store, signal, scope, onFinding, onProgress } = options
  const verified: Verified = { sessions: 0, events: 0, redacted: 0, bytes: 0 }
  const hasher = new EventHasher()
  const seen = new Set<ReadonlyMap<number, string>>()
  const objects = scope.session === undefined ? new ObjectDigests() : undefined
  const reader = new SessionReader({
    db,
    store,
    signal,
    ...(objects && { onSlice: (slice, member) => objects.add(slice, member) }),
  })
  for await (const group of reader.groups(scope, 'storage')) {
    const strays = await straysOf(db, group)
    for await (const log of reader.read(group)) {
      signal.throwIfAborted()
      const { tenant, session } = log.head
      const problem = (await verifySession(options, hasher, log, verified, seen)) ?? strays.get(log.head.sid)
      if (problem !== undefined) onFinding({ tenant, session, ...problem })
      verified.sessions += 1
      onProgress?.(verified)
    }
  }
  if (objects) for await (const finding of objects.finish(db, store, signal)) onFinding(finding)
  if (options.kept) for (const finding of unseen(options.kept, seen, scope)) onFinding(finding)
  return verified
}

async function verifySession(
  { db, kept, onProgress }: VerifyOptions,
  hasher: EventHasher,
  log: SessionLog,
  verified: Verified,
  seen: Set<ReadonlyMap<number, string>>,
): Promise<Problem | undefined> {
  const { head } = log
  const hashesOfSession = kept?.of(head.tenant, head.session)
  if (hashesOfSession) seen.add(hashesOfSession)
  const heads = hashesOfSession && new KnownHashesOfSession(hashesOfSession)
  const chain = new SessionChain(
    hasher,
    head.tenant,
    head.session,
    heads && ((seq, hash) => heads.compare(seq, hash)),
  )
  let problem: Problem | undefined
  for await (const piece of log.pieces()) {
    const before = chain.next
    if (piece.is === 'fault') problem = faultOf(chain, piece)
    else
      problem =
        chain.add(piece.text) ??
        (chain.next > piece.lastSeq ? undefined : missing(chain.next, 'the object ends before it'))
    verified.events += chain.next - before
    verified.bytes += piece.text?.length ?? 0
    onProgress?.(verified)
    if (problem !== undefined) break
  }
  for (const [first, last] of chain.redacted) verified.redacted += last - first + 1
  const unlawful = await unlawfullyRedacted(db, head, chain)
  if (unlawful !== undefined && !(problem && problem.seq < unlawful.seq)) return unlawful
  return problem === undefined
    ? (endOf(chain, head) ?? heads?.compareEnd(head.lastSeq))
    : asHeadProblem(chain, head, problem)
}

const missing = (seq: number, detail: string): Problem => ({ seq, reason: 'missing', detail })

/** Finds the first wrong event in a changed slice; its first event when the text shows none. */
function faultOf(chain: SessionChain, { problem, text, lastSeq }: Fault): Problem {
  if (text === undefined) return problem
  const found = chain.add(text)
  if (found !== undefined && found.seq >= problem.seq)
    return { ...problem, seq: found.seq, detail: `${problem.detail}; in them: ${found.detail}` }
  return found !== undefined || chain.next > lastSeq ? problem : { ...problem, seq: chain.next }
}

/** When the chain ends before the head says, the head was moved; no event is missing. */
function asHeadProblem(chain: SessionChain, head: SessionHead, problem: Problem): Problem {
  if (problem.reason !== 'missing' || problem.seq !== chain.next) return problem
  if (chain.hash !== head.headHash) return problem
  const seq = chain.next - 1
  return { seq, reason: 'head', detail: `the head is at ${head.lastSeq}, with the hash of event ${seq}` }
}

function endOf(chain: SessionChain, { lastSeq, headHash, erasedHash }: SessionHead): Problem | undefined {
  if (headHash === null) return { seq: 0, reason: 'head', detail: 'the session has no head' }
  const hash = chain.hash
  if (hash !== headHash)
    return {
      seq: lastSeq,
      reason: 'head',
      detail: `the head has the hash ${headHash}, and the chain ends with ${hash}`,
    }
  if (erasedHash !== null && hash !== erasedHash)
    return { seq: lastSeq, reason: 'head', detail: `the receipt of its erasure has the hash ${erasedHash}` }
  return undefined
}

/**
 * Finds the first event whose content is gone although no erasure covers it. Erasures are read after the content was
 * seen to be gone.
 */
async function unlawfullyRedacted(
  db: Db,
  { sid }: SessionHead,
  { redacted }: SessionChain,
): Promise<Problem | undefined> {
  if (redacted.length === 0) return undefined
  const covered = await queries.erasedRanges(db, sid)
  for (const [first, last] of redacted) {
    let seq = first
    // The ranges are ordered by their first seq, so one pass finds all that they cover.
    for (const [from, to] of covered) if (from <= seq && to >= seq) seq = to + 1
    if (seq <= last)
      return { seq, reason: 'changed', detail: 'its content is gone, and no erasure covers it' }
  }
  return undefined
}

/** Finds events that must not exist. They are looked up twice, because a move may intervene. */
async function straysOf(db: Db, group: readonly SessionHead[]): Promise<Map<string, Problem>> {
  const first = await queries.findStrays(db, group)
  const suspects = group.filter((head) => first.some((it) => it.sid === head.sid))
  const problems = new Map<string, Problem>()
  if (suspects.length === 0) return problems
  for (const { sid, lastSeq, behindHead, inBothTiers } of await queries.findStrays(db, suspects)) {
    if (inBothTiers !== undefined)
      problems.set(sid, {
        seq: inBothTiers,
        reason: 'duplicate',
        detail: 'both an object and Postgres have it',
      })
    else if (behindHead !== undefined)
      problems.set(sid, {
        seq: lastSeq,
        reason: 'head',
        detail: `the head is at ${lastSeq}, and there is an event ${behindHead}`,
      })
  }
  return problems
}
