import type { ChainVersion, EventFields } from '../../archive/chain.ts'
import { renderEvent } from '../../protocol/event.ts'
import type { Discontinuity } from '../checkpoints/leaf.ts'

/** The content of an event: JSON texts as they were sent. */
export interface Content {
  readonly payload: string
  readonly metadata: string
  readonly refs: string
}

/** What an event adds to the chain: eventLink, in base64, and its form. */
export interface ProofLink {
  readonly version: ChainVersion
  readonly link: string
}

/**
 * An inclusion proof. docs/proofs.md describes its members, and how to check it without this code. Hashes and the
 * salt are lower-case hex; links and the signature are base64.
 */
export interface Proof {
  readonly format: typeof PROOF_FORMAT
  readonly tenant_id: string
  readonly session_id: string
  readonly seq: number
  /** Null when the content was erased, or is left out. */
  readonly event: (Content & { readonly frame: string; readonly salt: string }) | null
  /** The hash of the event before. */
  readonly previous_hash: string
  /** The links of the event and of those after it, up to the head that the checkpoint covers. */
  readonly links: readonly ProofLink[]
  /**
   * `discontinuity`: the log does not continue what an earlier checkpoint signed, which an operator has acknowledged.
   */
  readonly leaf: {
    readonly seq: number
    readonly hash: string
    readonly index: number
    readonly discontinuity?: Discontinuity
  }
  readonly path: readonly string[]
  /** The body of the checkpoint: the text that is signed. */
  readonly checkpoint: string
  readonly signature: string
}

export const PROOF_FORMAT = 'starcite-proof/2'
/** The format of earlier releases: its links are texts, all of form 1. Such proofs are checked, and no longer made. */
export const OLD_PROOF_FORMAT = 'starcite-proof/1'

/** The members of a rendered event beside its content. */
interface Envelope {
  readonly seq: number
  readonly type: string
  readonly actor: string
  readonly subject?: string
  readonly source?: string
  readonly producer_id?: string
  readonly producer_seq?: number
  readonly idempotency_key?: string
  readonly inserted_at: string
}

/** The fields of a rendered event that the chain covers. Throws when it is not JSON. */
export function fieldsOf(frame: string, chainVersion: ChainVersion, contentDigest: Buffer): EventFields {
  const event = JSON.parse(frame) as Envelope
  return {
    chainVersion,
    seq: event.seq,
    insertedAt: event.inserted_at,
    type: event.type,
    actor: event.actor,
    subject: event.subject ?? null,
    source: event.source ?? null,
    producerId: event.producer_id ?? null,
    producerSeq: event.producer_seq ?? null,
    idempotencyKey: event.idempotency_key ?? null,
    contentDigest,
  }
}

/**
 * Renders this content with the envelope of a rendered event: the result equals that event if, and only if, the
 * content is its own.
 */
export function frameWith(frame: string, { payload, metadata, refs }: Content): string {
  const fields = fieldsOf(frame, 1, Buffer.alloc(0))
  return renderEvent({ ...fields, payload, metadata, refs }).text
}
