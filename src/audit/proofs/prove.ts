import type { Db } from '../../db/pool.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import { eventLink, genesisHash } from '../chain.ts'
import type { SignedCheckpoint } from '../checkpoints/checkpoint.ts'
import { type Leaf, leafBytes } from '../checkpoints/leaf.ts'
import { readLeaves } from '../checkpoints/leaves.ts'
import { inclusionPath, leafHash } from '../checkpoints/merkle.ts'
import { checkHashes, ProofError } from './check.ts'
import { type Entry, readEntries } from './entries.ts'
import { fieldsOf, PROOF_FORMAT, type Proof } from './proof.ts'
import { checkpointsAfter, findSession, isErased } from './queries.ts'

export interface ProofRequest {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** False: only the digest of what was written, and the envelope. */
  readonly hasContent: boolean
}

/** There is nothing that could be proven; the message says what is missing. */
export class NotProvableError extends Error {
  override readonly name = 'NotProvableError'
}

/**
 * An event is covered by the first checkpoint that was taken after its commit, and its time is a little before that. So
 * of the checkpoints since, one of the first is it, but for transactions that stayed open for several.
 */
const TRIED_CHECKPOINTS = 10

/**
 * A proof that an event is in the log of a session as one checkpoint has signed it: the earliest that is found, because
 * what lies between the event and the head that was signed is part of the proof. Rejects with a NotProvableError, or with a
 * ProofError when the log is not what the checkpoint says.
 */
export async function prove(db: Db, store: ObjectStore, request: ProofRequest): Promise<Proof> {
  const { tenantId, sessionId, seq, hasContent } = request
  const session = await findSession(db, tenantId, sessionId)
  if (session === undefined)
    throw new NotProvableError(`there is no session ${sessionId} of the tenant ${tenantId}`)
  const { sid, lastSeq, covered } = session
  if (seq < 1 || seq > lastSeq)
    throw new NotProvableError(`the session has events 1 to ${lastSeq}, and no event ${seq}`)
  if (covered === undefined || covered.lastSeq < seq)
    throw new NotProvableError(
      `no checkpoint covers event ${seq} yet: ${covered ? `the newest covers events up to ${covered.lastSeq}` : 'there is none of this session'}`,
    )
  const event = await only(readEntries(db, store, sid, seq, seq))
  const { inserted_at } = JSON.parse(event.frame) as { inserted_at: string }
  const checkpoints = await checkpointsAfter(db, inserted_at, covered.number, TRIED_CHECKPOINTS)
  const found = await findLeaf(store, checkpoints, request)
  const previousHash =
    seq === 1
      ? genesisHash(tenantId, sessionId).toString('hex')
      : (await only(readEntries(db, store, sid, seq - 1, seq - 1))).hash
  const links: string[] = []
  for await (const { frame, contentDigest } of readEntries(db, store, sid, seq, found.leaf.seq))
    links.push(eventLink(fieldsOf(frame, Buffer.from(contentDigest, 'hex'))).toString('base64'))
  const isShown = hasContent && event.salt !== null && !(await isErased(db, sid, seq))
  const { checkpoint, leaf, index, path } = found
  const proof: Proof = {
    format: PROOF_FORMAT,
    tenant_id: tenantId,
    session_id: sessionId,
    seq,
    event: isShown ? { frame: event.frame, salt: event.salt as string, ...event.content() } : null,
    previous_hash: previousHash,
    links,
    leaf: { seq: leaf.seq, hash: leaf.hash, index },
    path: path.map((it) => it.toString('hex')),
    checkpoint: checkpoint.body,
    signature: checkpoint.signature.toString('base64'),
  }
  try {
    checkHashes(proof)
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause
    throw new ProofError(`the log is not what checkpoint ${found.checkpoint.number} says: ${cause.message}`, {
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

/** The first of the checkpoints that covers the event. */
async function findLeaf(
  store: ObjectStore,
  checkpoints: readonly SignedCheckpoint[],
  { tenantId, sessionId, seq }: ProofRequest,
): Promise<Found> {
  for (const checkpoint of checkpoints) {
    if (checkpoint.leavesKey === undefined) continue
    const hashes: Buffer[] = []
    let found: { leaf: Leaf; index: number } | undefined
    for await (const leaves of readLeaves(await store.get(checkpoint.leavesKey)))
      for (const leaf of leaves) {
        if (leaf.sessionId === sessionId && leaf.tenantId === tenantId) found = { leaf, index: hashes.length }
        hashes.push(leafHash(leafBytes(leaf)))
      }
    if (found && found.leaf.seq >= seq)
      return { ...found, checkpoint, path: inclusionPath(hashes, found.index) }
  }
  throw new NotProvableError(`none of the checkpoints that should has a leaf that covers event ${seq}`)
}

async function only(entries: AsyncIterable<Entry>): Promise<Entry> {
  for await (const entry of entries) return entry
  throw new Error('there is no such event')
}
