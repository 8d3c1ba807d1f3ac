import type { NewEvent as EventToAppend } from '../append/newEvent.ts'
import type { Principal } from '../auth/principal.ts'
import { elementTexts } from '../lib/jsonText.ts'
import { AppError } from '../protocol/errors.ts'
import {
  type JsonObjectText,
  keptText,
  objectText,
  parseObject,
  refuseLong,
  refuseUnstorable,
} from './json.ts'
import { NewEvent, NewEventBatch } from './schemas.ts'
import { validator } from './validate.ts'

const checkEvent = validator(NewEvent, 'invalid_event', {
  integers: ['producer_seq', 'expected_seq', 'refs.to_seq', 'refs.step'],
})
const checkBatch = validator(NewEventBatch, 'invalid_event', { integers: ['expected_seq'] })
const NAMES = ['type', 'actor', 'source', 'producer_id', 'idempotency_key'] as const
const NULLABLE_REFS = ['request_id', 'sequence_id'] as const

export interface EventLimits {
  /** Of a batch. */
  readonly batchEvents: number
  /** Of `metadata` and `refs` each. */
  readonly eventMetadataBytes: number
}

/** One event out of the body of an append. Throws invalid_json, invalid_event, invalid_metadata, invalid_refs. */
export function parseEvent(text: string, principal: Principal, limits: EventLimits): EventToAppend {
  return toEvent(parseObject(text, 'invalid_event'), principal, limits, '')
}

/** The same, of JSON that is parsed already; `text` is what it was parsed from. */
export function readEvent(
  value: unknown,
  text: string,
  principal: Principal,
  limits: EventLimits,
): EventToAppend {
  return toEvent(objectText(value, text, 'invalid_event'), principal, limits, '')
}

/** The events of a batch: an NDJSON body, or `{"events": […], "expected_seq"?}`. Errors carry the event's `index`. */
export function parseBatch(
  text: string,
  kind: 'json' | 'ndjson',
  principal: Principal,
  limits: EventLimits,
): EventToAppend[] {
  const { texts, expectedSeq } = kind === 'ndjson' ? ndjson(text) : jsonBatch(text)
  if (texts.length === 0)
    throw new AppError('invalid_event', 'events must have at least one event', { field: 'events' })
  const { batchEvents: maxEvents } = limits
  if (texts.length > maxEvents)
    throw new AppError(
      'invalid_event',
      `events must have at most ${maxEvents} events, it has ${texts.length}`,
      {
        field: 'events',
        max_events: maxEvents,
      },
    )
  const events = texts.map((eventText, index) => {
    const where = `events[${index}]: `
    try {
      return toEvent(parseObject(eventText, 'invalid_event', where), principal, limits, where)
    } catch (error) {
      if (error instanceof AppError)
        throw new AppError(error.code, error.message, { ...error.details, index })
      throw error
    }
  })
  const first = events[0] as EventToAppend
  return [{ ...first, expectedSeq: first.expectedSeq ?? expectedSeq }, ...events.slice(1)]
}

function ndjson(text: string): { texts: string[]; expectedSeq: null } {
  return { texts: text.split('\n').filter((line) => line.trim() !== ''), expectedSeq: null }
}

function jsonBatch(text: string): { texts: string[]; expectedSeq: number | null } {
  const body = parseObject(text, 'invalid_event')
  const { expected_seq } = checkBatch(body.value)
  return { texts: elementTexts(body.members.get('events') ?? '[]'), expectedSeq: expected_seq ?? null }
}

function toEvent(
  object: JsonObjectText,
  principal: Principal,
  { eventMetadataBytes }: EventLimits,
  where: string,
): EventToAppend {
  dropNullRefs(object.value)
  const event = checkEvent(object.value, where)
  refuseUnstorable(event, NAMES, 'invalid_event', where)
  if (principal.actor !== null && event.actor !== undefined && event.actor !== principal.actor)
    throw new AppError('actor_mismatch', `${where}actor must be the token's sub, or left out`, {
      field: 'actor',
    })
  const hasProducer = event.producer_id !== undefined
  if (hasProducer !== (event.producer_seq !== undefined)) {
    const field = hasProducer ? 'producer_seq' : 'producer_id'
    throw new AppError(
      'invalid_event',
      `${where}producer_id and producer_seq go together: ${field} is missing`,
      { field },
    )
  }
  const metadata = keptText(object, 'metadata', 'invalid_metadata', where, 'kept')
  refuseLong(metadata, eventMetadataBytes, 'metadata', 'invalid_metadata', where)
  const refs = keptText(object, 'refs', 'invalid_refs', where, 'kept')
  refuseLong(refs, eventMetadataBytes, 'refs', 'invalid_refs', where)
  return {
    type: event.type,
    payload: keptText(object, 'payload', 'invalid_event', where, 'kept') ?? '{}',
    actor: principal.actor ?? event.actor ?? 'anonymous',
    source: event.source ?? null,
    producerId: event.producer_id ?? null,
    producerSeq: event.producer_seq ?? null,
    idempotencyKey: event.idempotency_key ?? null,
    metadata: metadata ?? '{}',
    refs: refs ?? '{}',
    expectedSeq: event.expected_seq ?? null,
  }
}

/** Inside refs too, null means not given. What is stored is the text as it came. */
function dropNullRefs({ refs }: Record<string, unknown>): void {
  if (typeof refs !== 'object' || refs === null) return
  for (const name of NULLABLE_REFS) {
    const members = refs as Record<string, unknown>
    if (members[name] === null) delete members[name]
  }
}
