import type { KeyObject } from 'node:crypto'
import { chainStep, contentDigest, eventLink, genesisHash } from '../chain.ts'
import { type Checkpoint, parseBody } from '../checkpoints/checkpoint.ts'
import { leafBytes } from '../checkpoints/leaf.ts'
import { rootOfPath } from '../checkpoints/merkle.ts'
import { isSignedBy } from '../checkpoints/signer.ts'
import { fieldsOf, frameWith, PROOF_FORMAT, type Proof } from './proof.ts'

/** The proof proves nothing; the message says at which step. */
export class ProofError extends Error {
  override readonly name = 'ProofError'
}

/** What a good proof says. */
export interface Proven {
  readonly tenantId: string
  readonly sessionId: string
  readonly seq: number
  /** RFC 3339, UTC. */
  readonly insertedAt: string
  readonly type: string
  readonly actor: string
  /** The event as every reader was shown it; null when the proof has only its digest. */
  readonly frame: string | null
  readonly contentDigest: string
  /** That the event was there, as it is, when this was signed. */
  readonly checkpoint: Checkpoint
}

const DIGEST_BYTES = 32

function expect(condition: unknown, otherwise: string): asserts condition {
  if (!condition) throw new ProofError(otherwise)
}

/** Throws a ProofError unless everything in the proof follows from a signature by one of the keys. */
export function checkProof(text: string, keys: ReadonlyMap<string, KeyObject>): Proven {
  const proof = read(text)
  const proven = checkHashes(proof)
  const { keyId } = proven.checkpoint
  const key = keys.get(keyId)
  expect(key, `it is signed by the key ${keyId}, which is none of those that are trusted`)
  const isGood = isSignedBy(key, Buffer.from(proof.checkpoint), Buffer.from(proof.signature, 'base64'))
  expect(isGood, 'the signature of the checkpoint is wrong')
  return proven
}

/** The same without the signature. */
export function checkHashes(proof: Proof): Proven {
  const { tenant_id, session_id, seq, leaf } = proof
  const links = proof.links.map((link) => Buffer.from(link, 'base64'))
  const [first] = links
  expect(first && first.length > DIGEST_BYTES, 'the link of the event is missing')
  const digest = first.subarray(0, DIGEST_BYTES)
  const envelope = unframed(first.subarray(DIGEST_BYTES))
  expect(envelope[0] === String(seq), `the first link is not that of event ${seq}`)
  expect(links.length === leaf.seq - seq + 1, 'the links do not lead from the event to the head')

  let hash: Buffer = Buffer.from(proof.previous_hash, 'hex')
  expect(hash.length === DIGEST_BYTES, 'previous_hash is not a hash')
  if (seq === 1)
    expect(hash.equals(genesisHash(tenant_id, session_id)), 'the chain does not begin with its session')
  for (const link of links) hash = chainStep(hash, link)
  expect(hash.toString('hex') === leaf.hash, 'the chain does not lead to the head')

  const checkpoint = parseBody(proof.checkpoint)
  expect(checkpoint, 'the checkpoint is not one')
  const bytes = leafBytes({
    tenantId: tenant_id,
    sessionId: session_id,
    seq: leaf.seq,
    hash: leaf.hash,
  })
  const path = proof.path.map((it) => Buffer.from(it, 'hex'))
  const root = rootOfPath(bytes, leaf.index, checkpoint.leaves, path)
  expect(root?.toString('hex') === checkpoint.root, 'the path does not lead to the root of the checkpoint')

  checkContent(proof, first)
  const [, insertedAt, type, actor] = envelope as [string, string, string, string]
  return {
    tenantId: tenant_id,
    sessionId: session_id,
    seq,
    insertedAt,
    type,
    actor,
    frame: proof.event?.frame ?? null,
    contentDigest: digest.toString('hex'),
    checkpoint,
  }
}

/** The frame says what the link says, and its content is what the link has the digest of. */
function checkContent({ event }: Proof, link: Buffer): void {
  if (event === null) return
  const { frame, salt, payload, metadata, refs } = event
  let isFrame: boolean
  let linkOfFrame: Buffer
  try {
    isFrame = frameWith(frame, event) === frame
    linkOfFrame = eventLink(fieldsOf(frame, contentDigest(Buffer.from(salt, 'hex'), payload, metadata, refs)))
  } catch (cause) {
    throw new ProofError('the event is not one', { cause })
  }
  expect(isFrame, 'payload, metadata and refs are not those of the event that is shown')
  expect(linkOfFrame.equals(link), 'the event that is shown is not the one that the link has the digest of')
}

function read(text: string): Proof {
  let proof: Partial<Record<keyof Proof, unknown>>
  try {
    proof = JSON.parse(text)
  } catch (cause) {
    throw new ProofError('the file is not JSON', { cause })
  }
  expect(proof?.format === PROOF_FORMAT, `the file is not a proof of the format ${PROOF_FORMAT}`)
  const { leaf, event } = proof as Partial<Proof>
  const areTexts = (list: unknown) => Array.isArray(list) && list.every((it) => typeof it === 'string')
  const isWhole =
    ['tenant_id', 'session_id', 'previous_hash', 'checkpoint', 'signature'].every(
      (name) => typeof proof[name as keyof Proof] === 'string',
    ) &&
    Number.isSafeInteger(proof.seq) &&
    areTexts(proof.links) &&
    areTexts(proof.path) &&
    Number.isSafeInteger(leaf?.seq) &&
    Number.isSafeInteger(leaf?.index) &&
    typeof leaf?.hash === 'string' &&
    (event === null ||
      (typeof event === 'object' &&
        areTexts([event.frame, event.salt, event.payload, event.metadata, event.refs])))
  expect(isWhole, 'a member of the proof is missing, or of another kind than it should be')
  return proof as Proof
}

/** The values that `framed` made self-delimiting. Throws a ProofError when it is anything else. */
function unframed(bytes: Buffer): (string | null)[] {
  const values: (string | null)[] = []
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === 0x2d) {
      values.push(null)
      at += 1
      continue
    }
    const colon = bytes.indexOf(':', at)
    const length = colon === -1 ? Number.NaN : Number(bytes.toString('latin1', at, colon))
    const end = colon + 1 + length
    expect(Number.isSafeInteger(length) && end <= bytes.length, 'a link is not one')
    values.push(bytes.toString('utf8', colon + 1, end))
    at = end
  }
  return values
}
