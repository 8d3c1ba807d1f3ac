import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'

/** The callbacks of a follower of one session on a shared connection. */
export interface LiveListener {
  /** Called with consecutive events, as JSON texts; `first` is the seq of the first. */
  onEvents(first: number, texts: readonly string[]): void
  /** Called when the session has events up to this seq, some of which are not delivered here. */
  onLastSeq(seq: number): void
  /** Called when the subscription has ended. */
  onEnd(end: End): void
}

export interface Subscription {
  /** The connection delivers events after this seq; earlier ones have to be read. */
  readonly position: number
  readonly transport: 'websocket' | 'sse'
  /** When data last arrived on the connection, by `Date.now()`. */
  readonly heardAt: number
  /** Checks the connection, and ends it when the server does not respond. */
  check(): void
  leave(): void
}

/**
 * Live events of many sessions from one connection. It does not buffer for slow followers, and does not replay: a follower that
 * misses events learns that they exist, and reads them (SharedLink).
 */
export interface LiveFeed {
  /** Follows a session. Resolves once it is joined; events may arrive before. Rejects with StarciteError. */
  subscribe(sessionId: string, cursor: Cursor, listener: LiveListener): Promise<Subscription>
}
