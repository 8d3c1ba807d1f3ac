import { AppError } from '../../protocol/errors.ts'
import type { Seq } from '../../protocol/event.ts'
import { seenLog } from '../../sessions/session.ts'
import { Type } from '../jsonSchema.ts'
import { operation } from '../operation.ts'
import { BATCH_SIZE, CURSOR_INSERTED_AT, choiceInQuery, LAST_EVENT_ID, seqCursor } from '../parameters.ts'
import { isEventStream } from '../transports/eventStream.ts'
import { serveEventStream } from '../transports/serveEventStream.ts'
import { serveWebSocketTail } from '../transports/webSocketTail.ts'

/** A raw tail ignores messages of its client, so there is no reason for larger ones. */
const MAX_IGNORED_MESSAGE_BYTES = 64 * 1024

const tailSession = operation({
  method: 'get',
  path: '/v1/sessions/:id/tail',
  id: 'tailSession',
  tag: 'events',
  summary: 'Tail a session from a cursor',
  description:
    'A WebSocket, whose frames and close codes /asyncapi.json describes; or, with `Accept: text/event-stream`, ' +
    'server-sent events whose `id` is the seq and whose `data` is an Event.',
  scope: 'session:read',
  tokenParameter: 'access_token',
  parameters: {
    cursor: seqCursor('The seq of the last event seen; the tail begins after it.', 0),
    cursor_inserted_at: CURSOR_INSERTED_AT,
    'Last-Event-ID': LAST_EVENT_ID,
    batch_size: BATCH_SIZE,
    follow: choiceInQuery(
      'invalid_list_query',
      ['true', 'false'],
      'true',
      '`false`: end after the event that is newest when the tail begins.',
    ),
  },
  eventStream: 'accepted',
  webSocket: { maxMessageBytes: () => MAX_IGNORED_MESSAGE_BYTES },
  answers: {
    101: { description: 'The tail begins, as a WebSocket.', headers: ['Upgrade'] },
    200: {
      description: 'The tail begins, as an event stream.',
      content: { 'text/event-stream': Type.String() },
    },
    204: {
      description:
        'A reconnecting EventSource has already received everything that `follow=false` asked for.',
    },
  },
  errors: ['cursor_ahead', 'history_changed', 'too_many_tails'],
  async handle(call) {
    const { ctx, parameters, path, principal, services } = call
    const { batch_size: batchSize, cursor: given = 0 } = parameters
    const isStream = isEventStream(ctx)
    const lastEventId = isStream ? parameters['Last-Event-ID'] : ''
    const cursor = lastEventId === '' ? given : seqOf(lastEventId)
    const session = await services.sessions.get(principal.tenantId, path.id)
    await services.cursors.assertNotAhead(cursor, session.lastSeq)
    await services.cursors.check(session, given, parameters.cursor_inserted_at)
    const { sid } = session
    const seen = seenLog(session)
    const until = parameters.follow === 'true' ? undefined : session.lastSeq
    const onFault = (error: unknown) => services.log.error({ err: error, sid }, 'tail failed')
    if (!isStream)
      return serveWebSocketTail(call, {
        batchSize: batchSize === 1 ? undefined : batchSize,
        run: (sink, signal) => services.tails.run({ sid, seen, cursor, until, sink, signal }),
        onFault,
      })
    if (until !== undefined && cursor >= until && lastEventId !== '') {
      ctx.status = 204 // the one response after which an EventSource does not reconnect
      return
    }
    serveEventStream(call, {
      isOneTail: true,
      pages: 2,
      isFinite: until !== undefined,
      async run(stream) {
        await services.tails.run({ sid, seen, cursor, until, sink: stream, signal: stream.signal })
        stream.finish(cursor)
      },
      onFault,
    })
  },
})

export const TAIL = [tailSession]

/** The seq in Last-Event-ID: that of the last event that the EventSource received. */
function seqOf(lastEventId: string): Seq {
  if (/^\d{1,16}$/.test(lastEventId) && Number(lastEventId) <= Number.MAX_SAFE_INTEGER)
    return Number(lastEventId)
  throw new AppError('invalid_cursor', 'Last-Event-ID must be the id of an event of this stream', {
    field: 'Last-Event-ID',
  })
}
