import type { NewEvent as EventToAppend } from '../append/newEvent.ts'
import type { Principal } from '../auth/principal.ts'
import { endOfTurn } from '../lib/endOfTurn.ts'
import { ArrayMember, type JsonRange } from '../lib/jsonMembers.ts'
import { AppError } from '../protocol/errors.ts'
import {
  assertMaxBytes,
  assertStorable,
  innerValue,
  type JsonObjectText,
  keptText,
  parseObject,
} from './json.ts'
import { NewEvent, NewEventBatch, Refs } from './schemas.ts'
import { validator } from './validate.ts'

const checkEvent = validator(NewEvent, 'invalid_event')
const checkBatch = validator(NewEventBatch, 'invalid_event')
const MEMBERS = Object.keys(NewEvent.properties)
const REFS_MEMBERS = Object.keys(Refs.properties)
const BATCH_MEMBERS = Object.keys(NewEventBatch.properties)
const NAMES = ['type', 'actor', 'source', 'producer_id', 'idempotency_key'] as const
const NULLABLE_REFS = ['request_id', 'sequence_id'] as const

/** How much of a long batch is parsed in one turn of the event loop: this many characters, or one event. */
const TURN_CHARACTERS = 512 * 1024

export interface EventLimits {
  /** The largest event, on every transport. */
  readonly eventBytes: number
  /** The most events of a batch. */
  readonly batchEvents: number
  /** The largest `metadata`, and the largest `refs`, of an event. */
  readonly eventMetadataBytes: number
}

/** Parses the event in the body of an append. Throws invalid_json, invalid_event, invalid_metadata, invalid_refs, actor_mismatch. */
export function parseEvent(text: string, principal: Principal, limits: EventLimits): EventToAppend {
  return toEvent(parseObject(text, MEMBERS, 'invalid_event'), principal, limits, '')
}

/**
 * Parses the events of a batch: an NDJSON body, or `{"events": […], "expected_seq"?}`. Errors have the `index` of the event;
 * body_too_large is about one event.
 */
export async function parseBatch(
  text: string,
  kind: 'json' | 'ndjson',
  principal: Principal,
  limits: EventLimits,
): Promise<EventToAppend[]> {
  const { batchEvents: maxEvents } = limits
  const { count, spans, expectedSeq } =
    kind === 'ndjson' ? ndjson(text, maxEvents) : jsonBatch(text, maxEvents)
  if (count === 0)
    throw new AppError('invalid_event', 'events must have at least one event', { field: 'events' })
  if (count > maxEvents)
    throw new AppError('invalid_event', `events has ${count} events; at most ${maxEvents} are allowed`, {
      field: 'events',
      max_events: maxEvents,
    })
  const events: EventToAppend[] = []
  let turnEnd = TURN_CHARACTERS
  for (const [index, span] of spans.entries()) {
    if (span.end > turnEnd) {
      await endOfTurn()
      turnEnd = span.end + TURN_CHARACTERS
    }
    events.push(batchEvent(text, span, index, principal, limits))
  }
  const first = events[0] as EventToAppend
  return [{ ...first, expectedSeq: first.expectedSeq ?? expectedSeq }, ...events.slice(1)]
}

function batchEvent(
  text: string,
  span: Batch['spans'][0],
  index: number,
  principal: Principal,
  limits: EventLimits,
): EventToAppend {
  const where = `events[${index}]: `
  try {
    assertEventBytes(text, span, limits.eventBytes, where)
    return toEvent(parseObject(text, MEMBERS, 'invalid_event', where, span), principal, limits, where)
  } catch (error) {
    if (error instanceof AppError) throw new AppError(error.code, error.message, { ...error.details, index })
    throw error
  }
}

interface Batch {
  readonly count: number
  /** Where the first `max` events are in the text. */
  readonly spans: readonly Required<Pick<JsonRange, 'start' | 'end'>>[]
  readonly expectedSeq: number | null
}

function ndjson(text: string, max: number): Batch {
  const spans: { start: number; end: number }[] = []
  let count = 0
  for (let start = 0; start < text.length; ) {
    const next = text.indexOf('\n', start)
    const end = next === -1 ? text.length : next
    if (!isBlank(text, start, end)) {
      count += 1
      if (count <= max) spans.push({ start, end })
    }
    start = end + 1
  }
  return { count, spans, expectedSeq: null }
}

function isBlank(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (!/\s/.test(text[at] as string)) return false
  return true
}

function jsonBatch(text: string, max: number): Batch {
  const events = new ArrayMember('events', max)
  const body = parseObject(text, BATCH_MEMBERS, 'invalid_event', '', {}, events)
  const { count, spans } = events.elements ?? { count: 0, spans: [] }
  if (events.elements) body.value.events = spans
  const { expected_seq } = checkBatch(body.value)
  return { count, spans, expectedSeq: expected_seq ?? null }
}

/** Throws body_too_large when the text at the span has more than `maxBytes` bytes. */
export function assertEventBytes(
  text: string,
  { start, end }: { readonly start: number; readonly end: number },
  maxBytes: number,
  where = '',
): void {
  const mostBytes = 3 * (end - start) // a UTF-16 unit is at most 3 bytes of UTF-8
  if (mostBytes > maxBytes && Buffer.byteLength(text.slice(start, end)) > maxBytes)
    throw new AppError('body_too_large', `${where}the event is larger than ${maxBytes} bytes`, {
      max_bytes: maxBytes,
    })
}

function toEvent(
  object: JsonObjectText,
  principal: Principal,
  { eventMetadataBytes }: EventLimits,
  where: string,
): EventToAppend {
  if (object.members.has('refs')) object.value.refs = innerValue(object, 'refs', REFS_MEMBERS)
  dropNullRefs(object.value)
  const event = checkEvent(object.value, where)
  assertStorable(event, NAMES, 'invalid_event', where)
  const { actor, subject } = actorOf(event.actor, principal, where)
  const hasProducer = event.producer_id !== undefined
  if (hasProducer !== (event.producer_seq !== undefined)) {
    const field = hasProducer ? 'producer_seq' : 'producer_id'
    throw new AppError(
      'invalid_event',
      `${where}producer_id and producer_seq must be given together; ${field} is missing`,
      { field },
    )
  }
  const metadata = keptText(object, 'metadata', 'invalid_metadata', where, 'kept')
  assertMaxBytes(metadata, eventMetadataBytes, 'metadata', 'invalid_metadata', where)
  const refs = keptText(object, 'refs', 'invalid_refs', where, 'kept')
  assertMaxBytes(refs, eventMetadataBytes, 'refs', 'invalid_refs', where)
  return {
    type: event.type,
    payload: keptText(object, 'payload', 'invalid_event', where, 'kept') ?? '{}',
    actor,
    subject,
    source: event.source ?? null,
    producerId: event.producer_id ?? null,
    producerSeq: event.producer_seq ?? null,
    idempotencyKey: event.idempotency_key ?? null,
    metadata: metadata ?? '{}',
    refs: refs ?? '{}',
    expectedSeq: event.expected_seq ?? null,
  }
}

/** The actor of an event, and the subject of the token when it appends on behalf of another actor. */
function actorOf(
  named: string | undefined,
  { actor, scopes }: Principal,
  where: string,
): Pick<EventToAppend, 'actor' | 'subject'> {
  if (actor === null) return { actor: named ?? 'anonymous', subject: null }
  if (named === undefined || named === actor) return { actor, subject: null }
  if (scopes.has('session:act_as')) return { actor: named, subject: actor }
  throw new AppError(
    'actor_mismatch',
    `${where}actor must be the token's sub or absent; naming another actor requires the scope session:act_as`,
    { field: 'actor' },
  )
}

/** Removes null members of `refs`, which mean that they were not given. The stored text keeps them. */
function dropNullRefs({ refs }: Record<string, unknown>): void {
  if (typeof refs !== 'object' || refs === null) return
  for (const name of NULLABLE_REFS) {
    const members = refs as Record<string, unknown>
    if (members[name] === null) delete members[name]
  }
}
