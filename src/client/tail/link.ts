import type { StarciteError } from '../errors.ts'
import type { SessionEvent } from '../types.ts'

/** The end of one connection of a tail. */
export type End =
  /** The tail with `follow: false` is complete. `isCertain` is true when the server has confirmed it. */
  | { readonly at: 'finished'; readonly isCertain: boolean }
  /** The token has expired. */
  | { readonly at: 'expired' }
  /** Reconnecting would not help. */
  | { readonly at: 'refused'; readonly error: StarciteError }
  /** Reconnect with the cursor, after a wait. */
  | { readonly at: 'broken'; readonly reason: string }
  /**
   * Reconnect with the cursor at once: the reader lagged, and the client closed the connection to bound its memory; or a finite
   * stream ended, and only another request shows whether it was complete.
   */
  | { readonly at: 'interrupted' }

/** Events, or the text of an event or of an array of events. */
export type Received = string | readonly SessionEvent[]

export const isEnd = (it: Received | End): it is End => typeof it === 'object' && !Array.isArray(it)

/** One connection of a tail, over any transport. */
export interface Link {
  /** When data last arrived, events or not, by `Date.now()`. */
  readonly heardAt: number
  /** The next events, or the end, which comes after all events. */
  next(): Promise<Received | End>
  /** Checks whether a shared connection is alive, after an event was missed. */
  check?(): void
  close(): void
}
