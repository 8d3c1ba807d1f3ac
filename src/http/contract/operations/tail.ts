import type { Operation } from '../operation.ts'
import { BATCH_SIZE, FOLLOW, TAIL_CURSOR } from '../parameters.ts'

/** See routes/tail.ts. */
export const TAIL_OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/sessions/:id/tail',
    id: 'tailSession',
    tag: 'events',
    summary: 'Follow a session from a cursor on',
    description: 'A WebSocket; its frames and close codes are in /asyncapi.json.',
    scope: 'session:read',
    tokenParameter: 'access_token',
    parameters: [TAIL_CURSOR, BATCH_SIZE, FOLLOW],
    answers: { 101: { description: 'The tail begins.', headers: ['Upgrade'] } },
    errors: [
      'invalid_websocket_upgrade',
      'invalid_cursor',
      'invalid_tail_batch_size',
      'invalid_list_query',
      'cursor_ahead',
      'too_many_tails',
      'too_many_sockets',
      'draining',
    ],
  },
]
