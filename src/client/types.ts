/** Payloads by event type, when the caller gives no map of its own such as `interface MyEvents { content: { text: string } }`. */
// biome-ignore lint/suspicious/noExplicitAny: without such a map, any event type has any payload
export type AnyEvents = { readonly [type: string]: any }

export interface EventFields {
  /** The position in the session: 1, 2, 3 … Resume with it as the cursor. */
  readonly seq: number
  readonly actor: string
  /** The subject of the token that appended the event in the actor's name. Absent when the actor appended it. */
  readonly subject?: string
  readonly source?: string
  readonly producer_id?: string
  readonly producer_seq?: number
  readonly idempotency_key?: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly refs: Readonly<Record<string, unknown>>
  /** RFC 3339, UTC, six fractional digits. */
  readonly inserted_at: string
  /**
   * The event's JSON text, the same bytes for every reader. Only here are numbers above 2^53 exact. Not enumerable:
   * copies and JSON.stringify omit it.
   */
  readonly raw: string
}

/** A stored event. `type` determines the type of `payload`; `redacted` is true when the content was erased. */
export type SessionEvent<Events = AnyEvents> = {
  readonly [T in keyof Events & string]: EventFields & { readonly type: T } & (
      | { readonly redacted?: undefined; readonly payload: Events[T] }
      | { readonly redacted: true; readonly payload: { readonly [member: string]: undefined } }
    )
}[keyof Events & string]

export interface NewEventFields {
  /**
   * Defaults to the token's `sub`, and may name another only with the scope `session:act_as`; without authentication it
   * defaults to `anonymous`.
   */
  readonly actor?: string
  readonly source?: string
  /** With `producer_seq`, sending the event again never stores it twice. An outbox sets both. */
  readonly producer_id?: string
  readonly producer_seq?: number
  readonly idempotency_key?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly refs?: Readonly<Record<string, unknown>>
}

export type NewEvent<Events = AnyEvents> = {
  readonly [T in keyof Events & string]: NewEventFields & { readonly type: T; readonly payload: Events[T] }
}[keyof Events & string]

export interface Appended {
  readonly seq: number
  readonly last_seq: number
  /** An earlier attempt had stored it already. */
  readonly deduped: boolean
  readonly cursor: number
  readonly committed_cursor: number
}

export interface BatchAppended {
  readonly results: readonly { readonly seq: number; readonly deduped: boolean }[]
  readonly last_seq: number
  readonly cursor: number
  readonly committed_cursor: number
}

export interface Principal {
  readonly tenant_id?: string
  readonly id: string
  readonly type?: string
}

export interface Session {
  readonly id: string
  readonly title: string | null
  readonly metadata: Readonly<Record<string, unknown>>
  readonly tenant_id: string
  readonly creator_principal?: Principal
  readonly last_seq: number
  readonly version: number
  readonly archived: boolean
  readonly created_at: string
  readonly updated_at: string
}

export interface NewSession {
  readonly id?: string
  readonly title?: string | null
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly creator_principal?: Principal
}

export interface SessionPatch {
  /** Null removes the title. */
  readonly title?: string | null
  /** Merged into the stored metadata, member by member. */
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly expected_version?: number
}

interface LifecycleFields<Kind extends string> {
  readonly kind: `session.${Kind}`
  readonly session_id: string
  readonly tenant_id: string
}
interface DescribedFields {
  /** Absent when the session has no title. */
  readonly title?: string
  readonly metadata: Readonly<Record<string, unknown>>
  readonly version: number
}

/** A lifecycle event of a session. `kind` determines the other members. Newer servers may send other kinds. */
export type LifecycleEvent =
  | LifecycleFields<'activated'>
  | (LifecycleFields<'created'> & DescribedFields & { readonly created_at: string })
  | (LifecycleFields<'updated'> & DescribedFields & { readonly updated_at: string })
  | (LifecycleFields<'archived'> & { readonly archived: true })
  | (LifecycleFields<'unarchived'> & { readonly archived: false })
  | (LifecycleFields<'appended'> & { readonly last_seq: number })
  | LifecycleFields<'erased'>

export type LifecycleKind = LifecycleEvent['kind']
