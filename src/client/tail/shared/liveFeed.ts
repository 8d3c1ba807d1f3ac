import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'

/** What a follower of one session hears from a connection that it shares. */
export interface LiveListener {
  /** Events that follow one another, as JSON texts; `first` is the seq of the first. */
  onEvents(first: number, texts: readonly string[]): void
  /** The session has events up to this seq, some of which will not be heard. */
  onLastSeq(seq: number): void
  /** Nothing more will be heard. */
  onEnd(end: End): void
}

export interface Subscription {
  /** What comes after this seq is heard; what comes before has to be read. */
  readonly position: number
  readonly transport: 'websocket' | 'sse'
  /** When the connection last gave a sign of life, in milliseconds of `Date.now()`. */
  readonly heardAt: number
  /** Asks the connection for a sign of life, and ends it when none comes. */
  check(): void
  leave(): void
}

/**
 * Live events of many sessions from one connection. Nothing is buffered for a follower that is slow, and nothing is
 * replayed: a follower that misses events learns that they exist, and reads them (SharedLink).
 */
export interface LiveFeed {
  /** Resolves once the session is followed. A listener may hear events before. Rejects with StarciteError. */
  subscribe(sessionId: string, cursor: Cursor, listener: LiveListener): Promise<Subscription>
}
