import { genesisHash } from '../../archive/chain.ts'
import type { Db } from '../../db/pool.ts'
import { mapAhead } from '../../lib/mapAhead.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts'
import { type Leaf, leafBytes } from '../checkpoints/leaf.ts'
import { readLeaves } from '../checkpoints/leaves.ts'
import { inclusionPath, leafHash } from '../checkpoints/merkle.ts'
import { readSessions } from '../read/queries.ts'
import type { SessionHead } from '../read/scope.ts'
import type { ReaderOptions } from '../read/sessionLog.ts'
import { checkHashes } from './check.ts'
import { type Entry, readEntries } from './entries.ts'
import { ProofError } from './errors.ts'
import { PROOF_FORMAT, type Proof, type ProofLink } from './proof.ts'
import { checkpointsSince, coveredUntil, createdAt, isErased } from './queries.ts'

export interface ProofRequest {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** False: the proof has the digest of the content and the envelope, and not the content. */
  readonly hasContent: boolean
}

/** Nothing can be proven; the message says what is missing. */
class NotProvableError extends Error {
  override readonly name = 'NotProvableError'
}

/** Lists of leaves that are read at a time. */
const LISTS_AHEAD = 16

/**
 * Makes a proof that an event is in the log of a session as one checkpoint has signed it: the earliest that covers
 * its seq, because everything between the event and the signed head is part of the proof. Where the log differs from
 * that checkpoint, a later one proves nothing, unless a checkpoint between them has recorded an acknowledged
 * discontinuity. Rejects with a NotProvableError, with a ProofError when a covering checkpoint contradicts the log,
 * or with an UnreadableError.
 */
export async function prove(db: Db, store: ObjectStore, request: ProofRequest): Promise<Proof> {
  const { tenantId, sessionId, seq } = request
  const [head] = await readSessions(db, tenantId, { session: sessionId }, 'id', undefined, 1)
  if (head === undefined)
    throw new NotProvableError(`there is no session ${sessionId} of the tenant ${tenantId}`)
  const { sid, lastSeq } = head
  if (seq < 1 || seq > lastSeq)
    throw new NotProvableError(`the session has events 1 to ${lastSeq}, and no event ${seq}`)
  const covered = await coveredUntil(db, sid)
  if (covered === undefined || covered.seq < seq)
    throw new NotProvableError(
      `no checkpoint covers event ${seq} yet: ${covered ? `the newest covers events up to ${covered.seq}` : 'none covers this session'}`,
    )
  const options = { db, store, signal: new AbortController().signal }
  const event = await only(readEntries(options, head, seq, seq))
  // All checkpoints since the session was created, not since the event: one that signed another event of this seq may
  // be much older.
  const checkpoints = checkpointsSince(db, await createdAt(db, sid), covered.number)
  let failure: ProofError | undefined
  for await (const found of leavesOfSession(store, checkpoints, request)) {
    if (found.leaf.discontinuity !== undefined) failure = undefined
    if (found.leaf.seq < seq || failure !== undefined) continue
    try {
      return await proofBy(found, event, request, options, head)
    } catch (error) {
      if (!(error instanceof ProofError)) throw error
      failure = error
    }
  }
  throw (
    failure ?? new NotProvableError(`the checkpoints that should cover event ${seq} have no leaf that does`)
  )
}

/** Rejects with a ProofError when the log differs from this checkpoint. */
async function proofBy(
  { checkpoint, leaf, index, path }: Found,
  event: Entry,
  { tenantId, sessionId, seq, hasContent }: ProofRequest,
  options: ReaderOptions,
  head: SessionHead,
): Promise<Proof> {
  if (leaf.seq > head.lastSeq)
    throw new ProofError(
      `the log ends with event ${head.lastSeq}, and checkpoint ${checkpoint.number} covers it up to ${leaf.seq}`,
    )
  let previousHash = genesisHash(tenantId, sessionId).toString('hex')
  const links: ProofLink[] = []
  for await (const it of readEntries(options, head, Math.max(1, seq - 1), leaf.seq))
    if (it.seq < seq) previousHash = it.hash
    else links.push({ version: it.chainVersion, link: it.link.toString('base64') })
  const isShown = hasContent && event.salt !== null && !(await isErased(options.db, head.sid, seq))
  const proof: Proof = {
    format: PROOF_FORMAT,
    tenant_id: tenantId,
    session_id: sessionId,
    seq,
    event: isShown ? { frame: event.frame, salt: event.salt as string, ...event.content } : null,
    previous_hash: previousHash,
    links,
    leaf: {
      ...{ seq: leaf.seq, hash: leaf.hash, index },
      ...(leaf.discontinuity && { discontinuity: leaf.discontinuity }),
    },
    path: path.map((it) => it.toString('hex')),
    checkpoint: checkpoint.body,
    signature: checkpoint.signature.toString('base64'),
  }
  try {
    checkHashes(proof)
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause
    throw new ProofError(`the log is not what checkpoint ${checkpoint.number} says: ${cause.message}`, {
      cause,
    })
  }
  return proof
}

interface Found {
  readonly checkpoint: SignedCheckpoint
  readonly leaf: Leaf
  readonly index: number
  readonly path: readonly Buffer[]
}

/** The checkpoints that have a leaf of the session, in their order. */
async function* leavesOfSession(
  store: ObjectStore,
  checkpoints: AsyncIterable<SignedCheckpoint>,
  { tenantId, sessionId }: ProofRequest,
): AsyncGenerator<Found, void> {
  const lists = mapAhead(checkpoints, LISTS_AHEAD, async (checkpoint) => ({
    checkpoint,
    list: checkpoint.leavesKey === undefined ? undefined : await store.get(checkpoint.leavesKey),
  }))
  for await (const { checkpoint, list } of lists) {
    if (list === undefined) continue
    const hashes: Buffer[] = []
    let found: { leaf: Leaf; index: number } | undefined
    for await (const leaves of readLeaves(list))
      for (const leaf of leaves) {
        if (leaf.sessionId === sessionId && leaf.tenantId === tenantId) found = { leaf, index: hashes.length }
        hashes.push(leafHash(leafBytes(leaf)))
      }
    if (found) yield { ...found, checkpoint, path: inclusionPath(hashes, found.index) }
  }
}

async function only(entries: AsyncIterable<Entry>): Promise<Entry> {
  for await (const entry of entries) return entry
  throw new Error('there is no such event')
}
