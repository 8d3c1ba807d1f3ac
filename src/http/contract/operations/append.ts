import { Type } from 'typebox'
import type { ErrorCode } from '../../../protocol/errors.ts'
import { NewEvent, NewEventBatch } from '../../schemas.ts'
import { Appended, AppendedBatch } from '../appended.ts'
import type { Operation } from '../operation.ts'

const JSON_TYPE = 'application/json'

/** What validates a batch looks at its events one by one, so that an error names the one it is about. */
const Batch = Type.Object(
  { ...NewEventBatch.properties, events: Type.Array(NewEvent, { minItems: 1 }) },
  { title: 'NewEventBatch' },
)

/** Why an event can be refused, whichever way it comes. */
export const APPEND_ERRORS = [
  'invalid_event',
  'invalid_metadata',
  'invalid_refs',
  'actor_mismatch',
  'expected_seq_conflict',
  'producer_seq_conflict',
  'producer_replay_conflict',
  'append_backpressure',
  'draining',
] as const satisfies readonly ErrorCode[]

/** See routes/append.ts. */
export const APPEND_OPERATIONS: readonly Operation[] = [
  {
    method: 'post',
    path: '/v1/sessions/:id/append',
    id: 'appendEvent',
    tag: 'events',
    summary: 'Append an event',
    description:
      'Committed when it is answered. With `producer_id` and `producer_seq` it may be repeated until it is answered; ' +
      'with `expected_seq` it is stored only if the session is at that seq.',
    scope: 'session:append',
    body: { required: true, content: { [JSON_TYPE]: NewEvent } },
    answers: { 201: { description: 'It is stored, or was before.', content: { [JSON_TYPE]: Appended } } },
    errors: APPEND_ERRORS,
  },
  {
    method: 'post',
    path: '/v1/sessions/:id/events',
    id: 'appendEvents',
    tag: 'events',
    summary: 'Append many events, all or none',
    description:
      'A refusal names the `index` of the event. The body may also be NDJSON, with `Content-Type: ' +
      'application/x-ndjson`: one event a line. It is described here only, because clients that are generated from ' +
      'two types of body send neither.',
    scope: 'session:append',
    body: {
      required: true,
      content: { [JSON_TYPE]: Batch },
    },
    answers: {
      201: { description: 'All are stored, or were before.', content: { [JSON_TYPE]: AppendedBatch } },
    },
    errors: APPEND_ERRORS,
  },
]
