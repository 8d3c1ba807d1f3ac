import { microseconds } from '../protocol/event.ts'
import { type Cursor, renderCursor } from './cursor.ts'

/** The record at one place of a feed. */
export type Entry = {
  readonly place: number
  readonly sessionId: string
  readonly tenantId: string
  /** When the change was recorded, or the progress got its place, in the form of every time on the wire. */
  readonly recordedAt: string
} & (
  | {
      readonly kind: 'created' | 'updated'
      readonly number: number
      readonly title: string | null
      /** JSON text; null once the session is erased. */
      readonly metadata: string | null
      readonly version: number
      /** In the form of every time on the wire. */
      readonly at: string
    }
  | { readonly kind: 'archived' | 'unarchived' | 'erased'; readonly number: number }
  | { readonly kind: 'appended'; readonly lastSeq: number }
)

/** One event of a feed, rendered once for all its followers. */
export class LifecycleEvent {
  readonly cursor: Cursor
  /** `{"event":{…},"cursor":"…","cursor_at":"…"}` */
  readonly text: string
  readonly name = 'lifecycle'
  /** The cache of http/transports/encodings.ts, shared by all connections. */
  encodings: object | undefined

  constructor({ place, number }: Cursor, recordedAt: string, event: string) {
    this.cursor = { place, number, at: microseconds(recordedAt) }
    this.text = `{"event":${event},"cursor":"${renderCursor(this.cursor)}","cursor_at":"${recordedAt}"}`
  }

  /** The id of its server-sent event: the cursor. */
  get id(): string {
    return renderCursor(this.cursor)
  }
}

/**
 * The events of an entry for a reader at `after`: usually one; two for a created session, unless the reader has the first of
 * them. `number` counts the changes that the reader has by then. Members without a value are absent, never null.
 */
export function renderEntry(entry: Entry, after: Cursor): LifecycleEvent[] {
  const event = (kind: string, members = '') =>
    `{"kind":"session.${kind}","session_id":${JSON.stringify(entry.sessionId)}` +
    `,"tenant_id":${JSON.stringify(entry.tenantId)}${members}}`
  const { place, kind } = entry
  const at = (members = '') => [
    new LifecycleEvent(
      { place, number: kind === 'appended' ? after.number : entry.number },
      entry.recordedAt,
      event(kind, members),
    ),
  ]
  switch (kind) {
    case 'created': {
      const activated = { place: place - 1, number: after.number }
      return [
        ...(after.place < place - 1
          ? [new LifecycleEvent(activated, entry.recordedAt, event('activated'))]
          : []),
        ...at(described(entry, 'created_at')),
      ]
    }
    case 'updated':
      return at(described(entry, 'updated_at'))
    case 'archived':
    case 'unarchived':
      return at(`,"archived":${kind === 'archived'}`)
    case 'appended':
      return at(`,"last_seq":${entry.lastSeq}`)
    case 'erased':
      return at()
    default:
      return kind satisfies never
  }
}

function described(entry: Extract<Entry, { metadata: string | null }>, time: string): string {
  const title = entry.title === null ? '' : `,"title":${JSON.stringify(entry.title)}`
  return `${title},"metadata":${entry.metadata ?? '{}'},"${time}":"${entry.at}","version":${entry.version}`
}
