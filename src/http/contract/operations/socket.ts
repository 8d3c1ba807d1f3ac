import { Type } from 'typebox'
import type { Operation } from '../operation.ts'

/** See routes/socket.ts. */
export const SOCKET_OPERATIONS: readonly Operation[] = [
  {
    method: 'get',
    path: '/v1/socket/websocket',
    id: 'openSocket',
    tag: 'events',
    summary: 'Many sessions on one WebSocket',
    description:
      'In the framing of Phoenix Channels; its topics, frames and close codes are in /asyncapi.json.',
    tokenParameter: 'token',
    parameters: [
      {
        name: 'vsn',
        in: 'query',
        description: 'The version of the framing.',
        schema: Type.Enum(['1.0.0', '2.0.0'], { default: '1.0.0' }),
      },
      {
        name: 'token_end',
        in: 'query',
        description: 'What is closed when the token ends unrenewed: the topics, or the socket.',
        schema: Type.Enum(['topics', 'close'], { default: 'topics' }),
      },
    ],
    answers: {
      101: { description: 'It is open.', headers: ['Upgrade'] },
      403: { description: 'The token, or a parameter, is not good. As Phoenix does: without a body.' },
    },
    errors: [
      'invalid_websocket_upgrade',
      'rate_limited',
      'auth_unavailable',
      'storage_unavailable',
      'too_many_sockets',
      'draining',
    ],
  },
]
