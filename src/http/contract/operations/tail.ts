import { Type } from 'typebox'
import { TailStart } from '../../schemas.ts'
import type { Operation } from '../operation.ts'
import { BATCH_SIZE, CURSOR_INSERTED_AT, FOLLOW, LAST_EVENT_ID, TAIL_CURSOR } from '../parameters.ts'

/** See routes/tail.ts. */
export const TAIL_OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/sessions/:id/tail',
    id: 'tailSession',
    tag: 'events',
    summary: 'Follow a session from a cursor on',
    description:
      'A WebSocket, whose frames and close codes are in /asyncapi.json; or, with `Accept: text/event-stream`, ' +
      'server-sent events: `id` is the seq, `data` an Event.',
    scope: 'session:read',
    tokenParameter: 'access_token',
    parameters: [TAIL_CURSOR, CURSOR_INSERTED_AT, LAST_EVENT_ID, BATCH_SIZE, FOLLOW],
    answers: {
      101: { description: 'The tail begins, as a WebSocket.', headers: ['Upgrade'] },
      200: {
        description: 'The tail begins, as an event stream.',
        content: { 'text/event-stream': Type.String() },
      },
      204: { description: 'An EventSource that has come back has seen all that `follow=false` asked for.' },
    },
    errors: [
      'invalid_websocket_upgrade',
      'invalid_cursor',
      'invalid_tail_batch_size',
      'invalid_list_query',
      'cursor_ahead',
      'history_changed',
      'too_many_tails',
      'too_many_sockets',
      'draining',
    ],
  },
  {
    method: 'post',
    path: '/v1/tails',
    id: 'tailSessions',
    tag: 'events',
    summary: 'Follow many sessions on one event stream',
    description:
      'Server-sent events whose `data` is a JSON object that names its session: `{"session_id","cursor"}` when its ' +
      'tail begins, `{"session_id","events"}`, and `{"session_id","error","message"}` when it is refused or ends. ' +
      'The other tails go on.',
    scope: 'session:read',
    body: {
      required: true,
      content: {
        'application/json': Type.Object(
          { tails: Type.Array(TailStart, { minItems: 1 }) },
          { title: 'TailStarts' },
        ),
      },
    },
    answers: {
      200: { description: 'The stream begins.', content: { 'text/event-stream': Type.String() } },
    },
    errors: ['invalid_tails', 'too_many_sockets', 'draining'],
  },
]
