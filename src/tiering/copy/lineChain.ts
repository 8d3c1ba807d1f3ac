import type { Owner } from './packer.ts'

/** What is wrong with a session's log, by its first wrong event. */
export interface Damage {
  readonly seq: number
  /** `missing`, `duplicate`, `changed`, `broken` or `head`, as in audit.verify. */
  readonly reason: string
  /** In words. */
  readonly detail: string
}

/** Follows the hash chain of one session over lines of an archive (docs/archive-format.md). */
export interface LineChain {
  /** seq of the event that comes next. */
  readonly next: number
  /** Events without content that it has met, first and last seq, in order. */
  readonly redacted: readonly (readonly [number, number])[]
  /** Lines, each with its line feed; may change those bytes. Answers what is wrong with the first that is. */
  add(text: Buffer): Damage | undefined
}

/** An event from which a chain goes on: its hash, and the form of that (sql/chained_hash.sql). */
export interface ChainEnd {
  readonly seq: number
  readonly hash: Buffer
  readonly version: number
}

/** Begins behind an event; without one, at the session's beginning. The definition of the chain is in audit/. */
export type FollowChain = (owner: Pick<Owner, 'tenantId' | 'sessionId'>, after?: ChainEnd) => LineChain
