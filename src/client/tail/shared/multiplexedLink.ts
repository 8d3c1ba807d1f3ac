import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'

/** How far a session was heard. */
export interface SessionPosition {
  readonly cursor: Cursor
}

/** What a connection tells of the sessions that are followed on it. */
export interface MultiplexedEvents {
  /** JSON texts of events that follow one another. */
  onEvents(sessionId: string, texts: readonly string[]): void
  /** The server follows this session no longer. */
  onLeft(sessionId: string, reason: string): void
  /** The connection is over. */
  onEnd(end: End): void
}

/** One connection on which many sessions are followed. */
export interface MultiplexedLink {
  readonly transport: 'websocket' | 'sse'
  readonly heardAt: number
  /** Follows a session from its place on. Rejects with StarciteError when the server refuses, or the connection ends. */
  join(sessionId: string, place: SessionPosition): Promise<void>
  leave(sessionId: string): void
  check(): void
  close(): void
}
