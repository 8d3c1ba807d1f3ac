import type { KeyObject } from 'node:crypto'
import {
  BEFORE_HASH,
  chainStep,
  contentDigest,
  eventLink,
  genesisHash,
  HASH_BYTES,
} from '../../archive/chain.ts'
import { type Checkpoint, parseBody } from '../checkpoints/checkpoint.ts'
import { type Discontinuity, leafBytes } from '../checkpoints/leaf.ts'
import { rootOfPath } from '../checkpoints/merkle.ts'
import { isSignedBy } from '../checkpoints/signer.ts'
import { expect, ProofError } from './errors.ts'
import { type LinkParts, linkParts } from './link.ts'
import { fieldsOf, frameWith, type Proof } from './proof.ts'
import { readProof } from './readProof.ts'

/** What a valid proof shows. */
export interface Proven {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** RFC 3339, UTC. */
  readonly insertedAt: string
  readonly type: string
  readonly actor: string
  /** The subject of the token that appended it in the actor's name; null when the actor did. */
  readonly subject: string | null
  /** The event as every reader saw it; null when the proof has only its digest. */
  readonly frame: string | null
  readonly contentDigest: string
  /** The time of the signature: the event existed, unchanged, at that time. */
  readonly checkpoint: Checkpoint
  /** What an earlier checkpoint signed of this log and the log does not continue; usually null. */
  readonly discontinuity: Discontinuity | null
}

/** Throws a ProofError unless everything in the proof follows from a signature by one of the keys. */
export function checkProof(text: string, keys: ReadonlyMap<string, KeyObject>): Proven {
  const proof = readProof(text)
  const proven = checkHashes(proof)
  const { keyId } = proven.checkpoint
  const key = keys.get(keyId)
  expect(key, `it is signed by the key ${keyId}, which is not a trusted key`)
  const isGood = isSignedBy(key, Buffer.from(proof.checkpoint), Buffer.from(proof.signature, 'base64'))
  expect(isGood, 'the signature of the checkpoint is wrong')
  return proven
}

/** Checks everything except the signature, of a proof that was read or made here. */
export function checkHashes(proof: Proof): Proven {
  const { tenant_id, session_id, seq, leaf } = proof
  const { contentDigest: digest, fields } = checkChain(proof)
  const checkpoint = parseBody(proof.checkpoint)
  expect(checkpoint, 'the checkpoint does not have the form of a checkpoint')
  const bytes = leafBytes({
    tenantId: tenant_id,
    sessionId: session_id,
    seq: leaf.seq,
    hash: leaf.hash,
    ...(leaf.discontinuity && { discontinuity: leaf.discontinuity }),
  })
  const path = proof.path.map((it) => Buffer.from(it, 'hex'))
  const root = rootOfPath(bytes, leaf.index, checkpoint.leaves, path)
  expect(root?.toString('hex') === checkpoint.root, 'the path does not lead to the root of the checkpoint')
  expect(
    leaf.discontinuity === undefined || checkpoint.discontinuities > 0,
    'the checkpoint has no leaf that records a discontinuity',
  )
  checkContent(proof)
  const [, insertedAt, type, actor, , , , , subject] = fields
  return {
    tenantId: tenant_id,
    sessionId: session_id,
    seq,
    insertedAt: insertedAt as string,
    type: type as string,
    actor: actor as string,
    subject: subject ?? null,
    frame: proof.event?.frame ?? null,
    contentDigest: digest.toString('hex'),
    checkpoint,
    discontinuity: leaf.discontinuity ?? null,
  }
}

/** Checks that the links lead from the event before to the head. Returns the parts of the first link. */
function checkChain({ tenant_id, session_id, seq, previous_hash, links, leaf }: Proof): LinkParts {
  expect(links.length === leaf.seq - seq + 1, 'the links do not lead from the event to the head')
  let hash: Buffer = Buffer.from(previous_hash, 'hex')
  expect(hash.length === HASH_BYTES, 'previous_hash is not a hash')
  // With that text as a hash, input of form 2 could be read as input of form 1.
  expect(!hash.equals(BEFORE_HASH.subarray(0, HASH_BYTES)), 'previous_hash is not a hash')
  if (seq === 1)
    expect(hash.equals(genesisHash(tenant_id, session_id)), 'the chain does not begin with its session')
  let first: LinkParts | undefined
  let before = 1
  for (const [i, { version, link }] of links.entries()) {
    expect(version >= before, 'an event of form 2 of the chain is followed by one of form 1')
    before = version
    const bytes = Buffer.from(link, 'base64')
    const parts = linkParts(version, bytes)
    expect(parts.fields[0] === String(seq + i), `the link of event ${seq + i} is of another event`)
    hash = chainStep(version, hash, bytes)
    first ??= parts
  }
  expect(first && hash.toString('hex') === leaf.hash, 'the chain does not lead to the head')
  return first
}

/** Checks that the rendered event has the fields of the first link, and that its content has the link's digest. */
function checkContent({ event, links }: Proof): void {
  const [first] = links
  if (event === null || first === undefined) return
  const { frame, salt, payload, metadata, refs } = event
  let isFrame: boolean
  let linkOfFrame: Buffer
  try {
    const digest = contentDigest(Buffer.from(salt, 'hex'), payload, metadata, refs)
    const fields = fieldsOf(frame, first.version, digest)
    expect(first.version === 2 || fields.subject === null, 'form 1 of the chain does not cover a subject')
    isFrame = frameWith(frame, event) === frame
    linkOfFrame = eventLink(fields)
  } catch (cause) {
    throw cause instanceof ProofError
      ? cause
      : new ProofError('the event does not have the form of an event', { cause })
  }
  expect(isFrame, 'payload, metadata and refs differ from those of the rendered event')
  expect(
    linkOfFrame.toString('base64') === first.link,
    'the rendered event does not match the digest of the link',
  )
}
