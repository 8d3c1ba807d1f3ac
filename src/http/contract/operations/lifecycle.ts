import { Type } from 'typebox'
import type { Operation } from '../operation.ts'
import { FEED_CURSOR, FEED_CURSOR_AT, LAST_EVENT_ID } from '../parameters.ts'

/** See routes/lifecycle.ts. */
export const LIFECYCLE_OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/lifecycle',
    id: 'followLifecycle',
    tag: 'lifecycle',
    summary: 'Follow what happens to the sessions of the tenant',
    description:
      "Server-sent events `lifecycle`; `data` is a LifecyclePush of /asyncapi.json. It takes a service's token that " +
      'is not locked to a session.',
    scope: 'session:read',
    tokenParameter: 'access_token',
    parameters: [FEED_CURSOR, FEED_CURSOR_AT, LAST_EVENT_ID],
    answers: {
      200: { description: 'The feed begins.', content: { 'text/event-stream': Type.String() } },
    },
    errors: [
      'invalid_cursor',
      'history_changed',
      'forbidden',
      'forbidden_session',
      'too_many_tails',
      'too_many_sockets',
      'draining',
    ],
  },
]
