/** The position of an event in its session: 1, 2, 3 … A cursor is the seq of the last event seen, 0 before the first. */
export type Seq = number

/** A stored event. `payload`, `metadata` and `refs` are JSON text, exactly as it was sent. */
export interface StoredEvent {
  readonly seq: Seq
  readonly type: string
  readonly payload: string
  readonly actor: string
  /** The subject of the token that appended the event on behalf of `actor`; null when the actor appended it. */
  readonly subject: string | null
  readonly source: string | null
  readonly producerId: string | null
  readonly producerSeq: number | null
  readonly idempotencyKey: string | null
  readonly metadata: string
  readonly refs: string
  /** RFC 3339, UTC, six fractional digits. */
  readonly insertedAt: string
  /** Whether the content was erased. `payload`, `metadata` and `refs` are `{}` then. */
  readonly redacted?: boolean
}

/** The memory that an event takes beside its text, for itself and its encodings. */
const RENDERED_OVERHEAD_BYTES = 150

/**
 * An event as every reader sees it, rendered once and shared. `renderEvent` alone writes the text, which is the same whether
 * the event is live, hot or cold (I5), until its content is erased.
 */
export class RenderedEvent {
  readonly seq: Seq
  readonly text: string
  /** The cache of http/transports/encodings.ts, shared by all connections. */
  encodings: object | undefined
  #memoryBytes = 0

  constructor(seq: Seq, text: string) {
    this.seq = seq
    this.text = text
  }

  /** The id of its server-sent event: the seq. */
  get id(): string {
    return String(this.seq)
  }

  /** `inserted_at`, the last member of the text, in microseconds since 1970. */
  get at(): number {
    return microseconds(this.text.slice(-29, -2))
  }

  /** The memory that an event takes while it is kept: its text, its UTF-8 once it was sent, and their objects. */
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

/** Converts a time in the format of events to microseconds since 1970, exactly. */
export const microseconds = (time: string): number =>
  1000 * Date.parse(`${time.slice(0, 23)}Z`) + Number(time.slice(23, 26))

/** Renders an event as clients get it. Members that were not given are absent, because several clients reject null. */
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

/** The event without its content, as renderEvent renders it once the content is erased. */
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
