import type { ErrorCode } from '../protocol/errors.ts'
import { Type } from './jsonSchema.ts'
import { parseBatch, parseEvent } from './parseEvents.ts'
import type { RequestBody } from './requestBody.ts'
import { NewEvent, NewEventBatch } from './schemas.ts'

const INVALID = ['invalid_event', 'invalid_metadata', 'invalid_refs', 'actor_mismatch'] as const

/** The codes that an append can be refused with on every transport. */
export const APPEND_ERRORS = [
  ...INVALID,
  'expected_seq_conflict',
  'producer_seq_conflict',
  'producer_replay_conflict',
  'append_backpressure',
  'draining',
] as const satisfies readonly ErrorCode[]

/** A batch as OpenAPI describes it. The parser validates its events one by one, so that an error names the index. */
const Batch = Type.Object(
  { ...NewEventBatch.properties, events: Type.Array(NewEvent, { minItems: 1 }) },
  { title: 'NewEventBatch' },
)

type Events = Awaited<ReturnType<typeof parseBatch>>

/** Events, and the length of the body that they came in. */
interface EventsBody {
  readonly events: Events
  readonly bytes: number
}

export const ONE_EVENT: RequestBody<EventsBody> = {
  required: true,
  schema: NewEvent,
  kinds: ['json'],
  errors: INVALID,
  maxBytes: ({ limits }) => limits.eventBytes,
  parse: (text, { principal, config }) => ({
    events: [parseEvent(text, principal, config.limits)],
    bytes: text.length,
  }),
}

export const MANY_EVENTS: RequestBody<EventsBody> = {
  required: true,
  schema: Batch,
  kinds: ['json', 'ndjson'],
  errors: INVALID,
  maxBytes: ({ limits }) => limits.batchBytes,
  parse: async (text, { kind, principal, config }) => ({
    events: await parseBatch(text, kind, principal, config.limits),
    bytes: text.length,
  }),
}
