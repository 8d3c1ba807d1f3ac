import { Type } from 'typebox'
import { Event } from '../event.ts'
import type { Operation } from '../operation.ts'
import { CURSOR_INSERTED_AT, LIMIT, OF_ACTOR, OF_TYPE, ORDER, PAGE_CURSOR, WAIT } from '../parameters.ts'
import { Count, closed } from '../values.ts'

const EventPage = closed(
  {
    events: Type.Array(Event),
    next_cursor: Type.Union([Count('Of the next page.'), Type.Null()], {
      description: 'With `asc` always a number; with `desc` null once the first event was reached.',
    }),
    last_seq: Count('The newest seq of the session.'),
  },
  { title: 'EventPage' },
)

/** See routes/events.ts. */
export const EVENT_OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/sessions/:id/events',
    id: 'listEvents',
    tag: 'events',
    summary: 'A page of history, or the next events by long-poll',
    description:
      'With a filter the cursor also passes events that did not match: a page may be empty before the end.',
    scope: 'session:read',
    parameters: [PAGE_CURSOR, CURSOR_INSERTED_AT, LIMIT, ORDER, OF_TYPE, OF_ACTOR, WAIT],
    answers: { 200: { description: 'A page of events.', content: { 'application/json': EventPage } } },
    errors: [
      'invalid_cursor',
      'invalid_limit',
      'invalid_list_query',
      'cursor_ahead',
      'history_changed',
      'history_damaged',
      'too_many_tails',
      'archive_read_unavailable',
    ],
  },
]
