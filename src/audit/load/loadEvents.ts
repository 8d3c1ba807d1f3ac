import type { Db } from '../../db/pool.ts'
import { readSelected, type Selected, type SelectionOptions } from '../read/selection.ts'
import { deleteExpired, expiryAfter, insertLoaded, type LoadedEvent } from './queries.ts'

/** About how much one statement inserts. */
const INSERT_EVENTS = 2000
const INSERT_BYTES = 4 * 1024 * 1024

export interface Loaded {
  events: number
  /** Bytes of their lines. */
  bytes: number
  read: number
  /** RFC 3339. */
  readonly expiresAt: string
}

export interface LoadOptions extends Omit<SelectionOptions, 'onEvent' | 'onRun' | 'tier'> {
  /** Connects as a role that may write to starcite.loaded_events. */
  readonly ownerDb: Db
  readonly keepMs: number
  readonly onProgress?: (loaded: Readonly<Loaded>) => void
}

/** Loads copies of the selected cold events for audit.events_loaded, after deleting the copies that have expired. */
export async function loadEvents(options: LoadOptions): Promise<Loaded> {
  const { ownerDb, keepMs, onProgress } = options
  await deleteExpired(ownerDb)
  const loaded: Loaded = { events: 0, bytes: 0, read: 0, expiresAt: await expiryAfter(ownerDb, keepMs) }
  let events: LoadedEvent[] = []
  let bytes = 0
  const flush = async () => {
    for (let from = 0; from < events.length; from += INSERT_EVENTS)
      await insertLoaded(ownerDb, events.slice(from, from + INSERT_EVENTS), loaded.expiresAt)
    loaded.events += events.length
    loaded.bytes += bytes
    events = []
    bytes = 0
  }
  await readSelected({
    ...options,
    tier: 'cold',
    onEvent: (event) => {
      events.push(loadedEvent(event))
      bytes += event.end - event.line.start
    },
    onRun: async (run) => {
      loaded.read += run.events
      if (events.length >= INSERT_EVENTS || bytes >= INSERT_BYTES) await flush()
      onProgress?.(loaded)
    },
  })
  await flush()
  return loaded
}

function loadedEvent({ head, line }: Selected): LoadedEvent {
  line.restoreLineFeeds()
  const digits = (span: typeof line.salt) => (span.start === -1 ? null : line.raw(span))
  const content = (span: typeof line.payload) => (line.isRedacted ? null : line.raw(span))
  return {
    sid: head.sid,
    seq: line.seq,
    insertedAt: line.raw(line.insertedAt),
    type: line.text(line.type) as string,
    actor: line.text(line.actor) as string,
    source: line.text(line.source),
    producerId: line.text(line.producerId),
    producerSeq: digits(line.producerSeq),
    idempotencyKey: line.text(line.idempotencyKey),
    payload: content(line.payload),
    metadata: content(line.metadata),
    refs: content(line.refs),
    salt: digits(line.salt),
    contentDigest: line.raw(line.contentDigest),
    hash: line.raw(line.hash),
    chainVersion: line.chainVersion,
    subject: line.text(line.subject),
  }
}
