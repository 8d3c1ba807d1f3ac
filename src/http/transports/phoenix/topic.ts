import type { Principal } from '../../../auth/principal.ts'
import type { Message } from './serializer.ts'

/** What a topic knows of one client that joins it. */
export interface Member {
  /** Whose token the client came with, or renewed last. */
  readonly principal: Principal
  /** Whether that token is no longer good. */
  readonly tokenEnded: boolean
  /** Its connection, which is told apart by identity. */
  readonly connection: object
  /** Aborted when the client is no longer in the topic. */
  readonly signal: AbortSignal
  /** Sends an event of the topic; `payload` is JSON text. */
  push(event: string, payload: string): void
  /** See Outbox. The signal is asked for only when there is something to wait for. */
  page(signal: () => AbortSignal): Promise<(() => void) | undefined>
}

/** A client's part in a topic that it has joined. */
export interface Joined {
  /** What the topic does until the member's signal is aborted. A rejection is a fault: the client is to join again. */
  run(): Promise<void>
  /** The member is no longer in the topic, nor will be; called once. */
  left(): void
  /** Throws when this principal may not be in the topic. */
  admit(principal: Principal): void
  /** How a push of this event is answered, with JSON text or an AppError; undefined when it is not known here. */
  answerTo(event: string): ((message: Message) => Promise<string>) | undefined
}

/**
 * A way into a topic. A refusal is an AppError, whose code is the reason that the client hears. `endTurn` is called before what
 * has no need of Postgres, and may take long.
 */
export type Join = (
  payload: Readonly<Record<string, unknown>>,
  member: Member,
  endTurn?: () => void,
) => Promise<Joined>

/** The way into a topic, by its name; undefined when there is no such topic. */
export type Topics = (topic: string) => Join | undefined
