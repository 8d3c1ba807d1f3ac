import type { Principal } from '../../../auth/principal.ts'
import type { Message } from './serializer.ts'

/** A client that joins or has joined a topic. */
export interface Member {
  /** The principal of the client's newest token. */
  readonly principal: Principal
  /** Whether that token has ended. */
  readonly tokenEnded: boolean
  /** The connection, compared by identity. */
  readonly connection: object
  /** Aborted when the client is no longer a member. */
  readonly signal: AbortSignal
  /** Sends an event of the topic; `payload` is JSON text. */
  push(event: string, payload: string): void
  /** See Outbox. `signal` is called only when there is something to wait for. */
  page(signal: () => AbortSignal): Promise<(() => void) | undefined>
}

/** The membership of a client that has joined a topic. */
export interface Joined {
  /** Runs until the member's signal is aborted. After a rejection the client has to join again. */
  run(): Promise<void>
  /** Called once, when the client is no longer a member. */
  left(): void
  /** Throws when the principal may not be a member. */
  admit(principal: Principal): void
  /** The handler for pushes with this event, which resolves with JSON text or rejects with an AppError; undefined: there is none. */
  answerTo(event: string): ((message: Message) => Promise<string>) | undefined
}

/**
 * Joins a topic. Rejects with an AppError, whose code is the reason in the reply. It calls `endTurn` before a step that takes
 * long and does not query Postgres.
 */
export type Join = (
  payload: Readonly<Record<string, unknown>>,
  member: Member,
  endTurn?: () => void,
) => Promise<Joined>

/** The join of a topic by its name; undefined when the topic does not exist. */
export type Topics = (topic: string) => Join | undefined
