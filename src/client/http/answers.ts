import { StarciteError } from '../errors.ts'
import { elementsOf, readEvent } from '../rawJson.ts'
import type { Appended, BatchAppended, Session, SessionEvent } from '../types.ts'

/**
 * Reads the text of a response. Throws, with the reason, when the text is not what the contract promises for this request:
 * it may come from another kind of server, or belong to another request.
 */
export type ReadAnswer<T> = (text: string) => T

export interface SessionPage {
  readonly sessions: readonly Session[]
  readonly next_cursor: string | null
}

export interface EventPage<Events> {
  readonly events: readonly SessionEvent<Events>[]
  readonly next_cursor: number | null
  readonly last_seq: number
}

type Members = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isSeq = (value: unknown): value is number => isCount(value) && value > 0

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new TypeError(what)
}

function objectOf(text: string): Members {
  const value: unknown = JSON.parse(text)
  check(isObject(value), 'it is not an object')
  return value
}

/** A session, with the id of the request. */
export function sessionAnswer(id: string | undefined, archived?: boolean): ReadAnswer<Session> {
  return (text) => {
    const session = sessionOf(objectOf(text))
    check(id === undefined || session.id === id, `it is session ${session.id}`)
    check(archived === undefined || session.archived === archived, `archived is ${session.archived}`)
    return session
  }
}

function sessionOf(value: unknown): Session {
  check(isObject(value), 'a session is not an object')
  check(typeof value.id === 'string' && value.id !== '', 'a session has no id')
  check(value.title === null || typeof value.title === 'string', 'a session has no title')
  check(isObject(value.metadata), 'a session has no metadata')
  check(isCount(value.last_seq), 'a session has no last_seq')
  check(isSeq(value.version), 'a session has no version')
  check(typeof value.archived === 'boolean', 'a session has no archived')
  for (const name of ['tenant_id', 'created_at', 'updated_at'])
    check(typeof value[name] === 'string', `a session has no ${name}`)
  return value as unknown as Session
}

/** The `last_seq` of a session. Other members are not checked. */
export const lastSeqAnswer: ReadAnswer<number> = (text) => {
  const { id, last_seq } = objectOf(text)
  check(typeof id === 'string' && isCount(last_seq), 'it is not a session')
  return last_seq
}

/** The number of events of a page. The events are not checked. */
export const countAnswer: ReadAnswer<number> = (text) => {
  const { events, last_seq } = objectOf(text)
  check(Array.isArray(events) && isCount(last_seq), 'it is not a page of events')
  return events.length
}

/** Sessions after `cursor`. The page says where the next one begins, or that it is the last. */
export function sessionPageAnswer(cursor: string | undefined): ReadAnswer<SessionPage> {
  return (text) => {
    const { sessions, next_cursor } = objectOf(text)
    check(Array.isArray(sessions), 'it has no sessions')
    check(next_cursor === null || typeof next_cursor === 'string', 'it has no next_cursor')
    check(
      next_cursor === null || (next_cursor !== '' && next_cursor !== cursor),
      'its next_cursor does not advance',
    )
    return { sessions: sessions.map(sessionOf), next_cursor }
  }
}

/** The response to an append of one event. */
export function appendedAnswer(expectedSeq: number | undefined): ReadAnswer<Appended> {
  return (text) => {
    const answer = objectOf(text)
    const { seq, last_seq, deduped, cursor, committed_cursor } = answer
    check(isSeq(seq) && typeof deduped === 'boolean', 'it has no seq, or no deduped')
    check(isSeq(last_seq) && last_seq >= seq, `seq is ${seq} and last_seq ${last_seq}`)
    check(cursor === seq && committed_cursor === last_seq, 'its cursors are not its seqs')
    check(
      deduped || expectedSeq === undefined || seq === expectedSeq + 1,
      `${seq} does not follow expected_seq`,
    )
    return answer as unknown as Appended
  }
}

export interface SentBatch {
  readonly count: number
  readonly expectedSeq?: number | undefined
  /** All events have one producer, in its order. Then their seqs ascend, even those of retries. */
  readonly isOneProducers?: boolean
}

/** The response to a batch: one result for each event. The seqs of new events are consecutive. */
export function batchAnswer({ count, expectedSeq, isOneProducers }: SentBatch): ReadAnswer<BatchAppended> {
  return (text) => {
    const answer = objectOf(text)
    const { results, last_seq, cursor, committed_cursor } = answer
    check(Array.isArray(results) && results.length === count, `it does not have ${count} results`)
    let [newest, previous] = [expectedSeq, 0]
    for (const result of results as unknown[]) {
      check(isObject(result), 'a result is not an object')
      const { seq, deduped } = result
      check(isSeq(seq) && typeof deduped === 'boolean', 'a result has no seq, or no deduped')
      check(isSeq(last_seq) && last_seq >= seq, `a seq is ${seq} and last_seq ${last_seq}`)
      check(!isOneProducers || seq > previous, `${seq} comes after ${previous}`)
      check(deduped || newest === undefined || seq === newest + 1, `${seq} is stored after ${newest}`)
      previous = seq
      if (!deduped) newest = seq
    }
    check(cursor === previous && committed_cursor === last_seq, 'its cursors are not its seqs')
    return answer as unknown as BatchAppended
  }
}

export interface PageRequest {
  readonly cursor: number | undefined
  readonly order: 'asc' | 'desc'
  /** The request has a filter, so other events may lie between those of the page. */
  readonly isFiltered: boolean
}

/** The start of a page of events, up to its array. */
const EVENTS = /^\s*\{\s*"events"\s*:\s*(?=\[)/

/** A page of events, in order. A gap in an unfiltered page throws `events_missing`. */
export function eventPageAnswer<Events>(request: PageRequest): ReadAnswer<EventPage<Events>> {
  return (text) => {
    const { next_cursor, last_seq } = objectOf(text)
    const start = EVENTS.exec(text)?.[0].length
    check(start !== undefined, 'it does not start with events')
    check(isCount(last_seq), 'it has no last_seq')
    const events = elementsOf(text, start).map((raw) => readEvent<Events>(raw))
    const seqs = events.map(({ seq }) => seq)
    if (request.order === 'asc') {
      check(isCount(next_cursor), 'it has no next_cursor')
      assertNoGaps([request.cursor ?? 0, ...seqs], next_cursor, Math.min(next_cursor, last_seq), request)
      check(
        next_cursor > (request.cursor ?? 0) || next_cursor >= last_seq,
        'its next_cursor does not advance',
      )
    } else {
      check(next_cursor === null || isSeq(next_cursor), 'it has no next_cursor')
      const before = Math.min(request.cursor ?? Number.POSITIVE_INFINITY, last_seq + 1)
      const end = next_cursor ?? 1
      assertNoGaps([-before, ...seqs.map((it) => -it)], -end, before > 1 ? -end : -before, request)
      check(next_cursor === null || next_cursor < before, 'its next_cursor does not advance')
    }
    return { events, next_cursor, last_seq }
  }
}

/**
 * Checks that positions ascend and, without a filter, that they are consecutive up to `covered`, the position that the page
 * claims to have reached. The positions of a descending page are negated seqs.
 */
function assertNoGaps(
  positions: readonly number[],
  end: number,
  covered: number,
  { isFiltered }: PageRequest,
): void {
  for (let i = 1; i < positions.length; i += 1) {
    const [before, at] = [positions[i - 1] as number, positions[i] as number]
    check(at > before && at <= end, `event ${Math.abs(at)} comes after ${Math.abs(before)}`)
    if (!isFiltered && at !== before + 1) throw gapError(before, at)
  }
  const last = positions.at(-1) as number
  if (!isFiltered && last < covered) throw gapError(last, covered)
}

function gapError(before: number, at: number): StarciteError {
  const [cursor, seq] = [Math.abs(before), Math.abs(at)]
  return new StarciteError('events_missing', `events between ${cursor} and ${seq} are missing`, {
    details: { cursor, seq },
    retryable: true,
  })
}
