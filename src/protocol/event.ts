/** Position of an event in its session: 1, 2, 3 … A cursor is the seq of the last event seen, 0 before the first. */
export type Seq = number

/** A stored event. `payload`, `metadata` and `refs` are JSON text, exactly as it was sent. */
export interface StoredEvent {
  readonly seq: Seq
  readonly type: string
  readonly payload: string
  readonly actor: string
  /** Subject of the token that appended it in the name of `actor`; null when the actor did. */
  readonly subject: string | null
  readonly source: string | null
  readonly producerId: string | null
  readonly producerSeq: number | null
  readonly idempotencyKey: string | null
  readonly metadata: string
  readonly refs: string
  /** RFC 3339, UTC, six fractional digits. */
  readonly insertedAt: string
  /** Its content was erased: `payload`, `metadata` and `refs` are `{}`. */
  readonly redacted?: boolean
}

/** What an event takes in memory beside its text, and the forms of it that transports make. */
const RENDERED_OVERHEAD_BYTES = 150

/**
 * An event as every reader sees it, rendered once and shared. `renderEvent` alone writes the text, which is the same whether
 * the event is live, hot or cold (I5), until its content is erased.
 */
export class RenderedEvent {
  readonly seq: Seq
  readonly text: string
  /** What transports make of it, once for all connections: http/transports/encodings.ts. */
  encodings: object | undefined
  #memoryBytes = 0

  constructor(seq: Seq, text: string) {
    this.seq = seq
    this.text = text
  }

  /** What a reader comes back with: the seq. */
  get id(): string {
    return String(this.seq)
  }

  /** When it was committed, in microseconds since 1970. `inserted_at` is the last member of the text. */
  get at(): number {
    return microseconds(this.text.slice(-29, -2))
  }

  /** Bytes of memory that an event takes while it is kept: its text, its UTF-8 once it was sent, and the objects that hold them. */
  get memoryBytes(): number {
    if (this.#memoryBytes === 0) {
      const utf8 = Buffer.byteLength(this.text)
      // V8 keeps text beyond Latin-1 in two bytes a character.
      const text = utf8 === this.text.length ? utf8 : 2 * this.text.length
      this.#memoryBytes = text + utf8 + RENDERED_OVERHEAD_BYTES
    }
    return this.#memoryBytes
  }
}

/** Microseconds since 1970 of a time as events show it, exactly. */
export const microseconds = (time: string): number =>
  1000 * Date.parse(`${time.slice(0, 23)}Z`) + Number(time.slice(23, 26))

/** Renders the wire form. What was not given is absent, never null: several client generations refuse a null. */
export function renderEvent(event: StoredEvent): RenderedEvent {
  let text = `{"seq":${event.seq},"type":${JSON.stringify(event.type)},"payload":${event.payload},"actor":${JSON.stringify(event.actor)}`
  if (event.subject !== null) text += `,"subject":${JSON.stringify(event.subject)}`
  if (event.source !== null) text += `,"source":${JSON.stringify(event.source)}`
  if (event.producerId !== null)
    text += `,"producer_id":${JSON.stringify(event.producerId)},"producer_seq":${event.producerSeq}`
  if (event.idempotencyKey !== null) text += `,"idempotency_key":${JSON.stringify(event.idempotencyKey)}`
  text += `,"metadata":${event.metadata},"refs":${event.refs}`
  if (event.redacted) text += ',"redacted":true'
  text += `,"inserted_at":"${event.insertedAt}"}`
  return new RenderedEvent(event.seq, text)
}

interface EventOnTheWire {
  readonly seq: Seq
  readonly type: string
  readonly actor: string
  readonly subject?: string
  readonly source?: string
  readonly producer_id?: string
  readonly producer_seq?: number
  readonly idempotency_key?: string
  readonly inserted_at: string
}

/** The same event without its content: what renderEvent makes of it once that is erased. */
export function withoutContent({ text }: RenderedEvent): RenderedEvent {
  const event = JSON.parse(text) as EventOnTheWire
  return renderEvent({
    seq: event.seq,
    type: event.type,
    payload: '{}',
    actor: event.actor,
    subject: event.subject ?? null,
    source: event.source ?? null,
    producerId: event.producer_id ?? null,
    producerSeq: event.producer_seq ?? null,
    idempotencyKey: event.idempotency_key ?? null,
    metadata: '{}',
    refs: '{}',
    insertedAt: event.inserted_at,
    redacted: true,
  })
}
