import { MAX_TAIL_BYTES } from '../bounds.ts'
import type { State } from '../context.ts'
import { toAppError } from '../errors.ts'
import { Type } from '../jsonSchema.ts'
import { operation } from '../operation.ts'
import { parseTails } from '../parseTails.ts'
import { TailStart } from '../schemas.ts'
import { serveEventStream } from '../transports/serveEventStream.ts'
import { TailsStream } from '../transports/tailsStream.ts'

const TailStarts = Type.Object({ tails: Type.Array(TailStart, { minItems: 1 }) }, { title: 'TailStarts' })

/** Many tails on one event stream, for networks in which the multiplexed socket does not work. */
const tailSessions = operation({
  method: 'post',
  path: '/v1/tails',
  id: 'tailSessions',
  tag: 'events',
  summary: 'Tail many sessions on one event stream',
  description:
    'Server-sent events whose `data` is a JSON object that names its session: `{"session_id","cursor"}` when its ' +
    'tail begins, `{"session_id","events"}`, and `{"session_id","error","message"}` when it is refused or ends. ' +
    'The other tails continue.',
  scope: 'session:read',
  body: {
    required: true,
    schema: TailStarts,
    kinds: ['json'],
    errors: ['invalid_tails'],
    maxBytes: ({ socket }) => socket.maxTopics * MAX_TAIL_BYTES,
    parse: (text, { config }) => parseTails(text, config.socket.maxTopics),
  },
  eventStream: 'always',
  answers: { 200: { description: 'The stream begins.', content: { 'text/event-stream': Type.String() } } },
  errors: [],
  handle(call) {
    const { ctx, body, principal, services } = call
    const { log } = services
    const { requestId } = ctx.state as State
    serveEventStream(call, {
      isOneTail: false,
      async run(stream) {
        const tails = new TailsStream({
          services,
          principal,
          stream,
          toAppError: (error) => toAppError(error, requestId, log),
        })
        await tails.run(body)
        if (tails.isCutShort) stream.fail()
      },
      onFault: (error) => log.error({ err: error }, 'stream of many tails failed'),
    })
  },
})

export const TAILS = [tailSessions]
