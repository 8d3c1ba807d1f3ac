import type { Context } from 'koa'
import { AppError } from '../../protocol/errors.ts'
import { type State, stallPolicyOf } from '../context.ts'
import { toAppError } from '../errors.ts'
import { Type } from '../jsonSchema.ts'
import { operation } from '../operation.ts'
import type { Parameter } from '../parameters.ts'
import { rejectHandshake, SOCKET_PATH } from '../socketPath.ts'
import { openWebSocket } from '../transports/openWebSocket.ts'
import { PhoenixSocket } from '../transports/phoenix/phoenixSocket.ts'
import { SERIALIZERS } from '../transports/phoenix/serializer.ts'
import { createTopics } from '../transports/phoenix/topics.ts'

/** The room that a message has beside the largest event. */
const MAX_ENVELOPE_BYTES = 64 * 1024
/** The sub-protocol in which Phoenix's client sends its `authToken`, which keeps it out of logs. */
const TOKEN_PROTOCOL = /(?:^|,)\s*base64url\.bearer\.phx\.([\w+-]+)\s*(?:,|$)/

/** A parameter of the handshake. It is read without a check, because an invalid value is rejected like an invalid token. */
const handshakeParameter = (allowed: readonly string[], absent: string, description: string): Parameter => ({
  in: 'query',
  description,
  schema: Type.Enum([...allowed], { default: absent }),
  read: (ctx, name) => ctx.query[name] ?? absent,
})

/** The multiplexed socket. It rejects handshakes as Phoenix does: 403 without a body. */
const openSocket = operation({
  method: 'get',
  path: SOCKET_PATH,
  id: 'openSocket',
  tag: 'events',
  summary: 'Open a WebSocket for many sessions',
  description:
    'In the framing of Phoenix Channels; /asyncapi.json describes its topics, frames and close codes.',
  tokenParameter: 'token',
  parameters: {
    vsn: handshakeParameter([...SERIALIZERS.keys()], '1.0.0', 'The version of the framing.'),
    token_end: handshakeParameter(
      ['topics', 'close'],
      'topics',
      'What the node closes when the token ends without being renewed: the topics, or the socket.',
    ),
  },
  webSocket: {
    maxMessageBytes: ({ limits }) => limits.eventBytes + MAX_ENVELOPE_BYTES,
    authentication: { token: tokenOf, refuse: rejectHandshake },
  },
  answers: {
    101: { description: 'The socket is open.', headers: ['Upgrade'] },
    403: { description: 'The token or a parameter is invalid. There is no body, as with Phoenix.' },
  },
  errors: ['rate_limited', 'auth_unavailable', 'storage_unavailable'],
  async handle(call) {
    const { ctx, parameters, principal, services } = call
    const { vsn, token_end: tokenEnd } = parameters
    const serializer = typeof vsn === 'string' ? SERIALIZERS.get(vsn) : undefined
    const isGood = (tokenEnd === 'topics' || tokenEnd === 'close') && ctx.query.access_token === undefined
    if (serializer === undefined || !isGood) return rejectHandshake(ctx)
    const { requestId } = ctx.state as State
    const { silenceMs, maxTopics, maxUnanswered } = services.config.socket
    await openWebSocket(
      call,
      (ws, socket) =>
        new PhoenixSocket(ws, socket, {
          serializer,
          topics: createTopics(services),
          authenticator: services.authenticator,
          requestQuota: services.requestQuota,
          principal,
          closesWithToken: tokenEnd === 'close',
          silenceMs,
          stallPolicy: stallPolicyOf(services, ctx),
          maxTopics,
          maxUnanswered,
          toAppError: (error) => toAppError(error, requestId, services.log),
        }),
    )
  },
})

export const SOCKET = [openSocket]

function tokenOf(ctx: Context): string | undefined {
  const { token } = ctx.query
  if (Array.isArray(token)) throw new AppError('unauthorized', 'token is given more than once')
  return token ?? tokenOfProtocol(ctx)
}

function tokenOfProtocol(ctx: Context): string | undefined {
  const encoded = TOKEN_PROTOCOL.exec(ctx.get('Sec-WebSocket-Protocol'))?.[1]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64url').toString()
}
