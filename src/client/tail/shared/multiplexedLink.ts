import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'

/** The position up to which a session was received. */
export interface SessionPosition {
  readonly cursor: Cursor
}

/** The callbacks of a connection for the sessions that are followed on it. */
export interface MultiplexedEvents {
  /** Called with consecutive events, as JSON texts. */
  onEvents(sessionId: string, texts: readonly string[]): void
  /** Called when the server has ended the tail of this session. */
  onLeft(sessionId: string, reason: string): void
  /** Called when the connection has ended. */
  onEnd(end: End): void
}

/** One connection on which many sessions are followed. */
export interface MultiplexedLink {
  readonly transport: 'websocket' | 'sse'
  readonly heardAt: number
  /** Follows a session from a position. Rejects with StarciteError when the server refuses, or the connection ends. */
  join(sessionId: string, place: SessionPosition): Promise<void>
  leave(sessionId: string): void
  check(): void
  close(): void
}
