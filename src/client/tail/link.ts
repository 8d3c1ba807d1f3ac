import type { StarciteError } from '../errors.ts'
import type { SessionEvent } from '../types.ts'

/** How one connection of a tail ended. */
export type End =
  /** Nothing more will come: `follow: false` has reached its end, as the server says, or as it looks. */
  | { readonly at: 'finished'; readonly isCertain: boolean }
  /** The token is over. */
  | { readonly at: 'expired' }
  /** Coming back would not help. */
  | { readonly at: 'refused'; readonly error: StarciteError }
  /** Come back with the cursor. */
  | { readonly at: 'broken'; readonly reason: string }
  /**
   * Come back with the cursor at once: the reader lagged, and this side ended what it could not keep; or a finite stream
   * ended, and the server says only when asked again whether that was all.
   */
  | { readonly at: 'interrupted' }

/** Events, or the text of an event or of an array of events. */
export type Received = string | readonly SessionEvent[]

export const isEnd = (it: Received | End): it is End => typeof it === 'object' && !Array.isArray(it)

/** One connection of a tail, whatever the transport. */
export interface Link {
  /** When something was last heard, events or not, in milliseconds of `Date.now()`. */
  readonly heardAt: number
  /** What comes next; the end comes after everything before it. */
  next(): Promise<Received | End>
  /** Something was missed: whether the connection lives is to be found out. For connections that others use too. */
  check?(): void
  close(): void
}
