import { parseCursor, renderCursor } from '../../lifecycle/cursor.ts'
import { Type } from '../jsonSchema.ts'
import { operation } from '../operation.ts'
import { FEED_CURSOR_AT, LAST_EVENT_ID, textInQuery } from '../parameters.ts'
import { serveEventStream } from '../transports/serveEventStream.ts'

/** The lifecycle feed as server-sent events, for every `Accept`. */
const followLifecycle = operation({
  method: 'get',
  path: '/v1/lifecycle',
  id: 'followLifecycle',
  tag: 'lifecycle',
  summary: 'Follow the lifecycle feed of the tenant',
  description:
    "Server-sent events named `lifecycle`, whose `data` is a LifecyclePush of /asyncapi.json. Requires a service's token " +
    'that is not locked to a session.',
  scope: 'session:read',
  servicesOnly: true,
  tokenParameter: 'access_token',
  parameters: {
    cursor: textInQuery(
      'invalid_cursor',
      'The cursor of the last event seen; `0.0` is the beginning of the feed. Absent: from now on.',
    ),
    cursor_at: FEED_CURSOR_AT,
    'Last-Event-ID': LAST_EVENT_ID,
  },
  eventStream: 'always',
  answers: { 200: { description: 'The feed begins.', content: { 'text/event-stream': Type.String() } } },
  errors: ['history_changed', 'too_many_tails'],
  async handle(call) {
    const { parameters, principal, services } = call
    const { lifecycle, log } = services
    const { tenantId } = principal
    const { cursor: given, cursor_at: at, 'Last-Event-ID': lastEventId } = parameters
    const wanted =
      lastEventId !== ''
        ? parseCursor(lastEventId, 'Last-Event-ID')
        : given === undefined
          ? undefined
          : parseCursor(given, 'cursor', at)
    const cursor = await lifecycle.startAt(tenantId, wanted)
    serveEventStream(call, {
      isOneTail: true,
      run(stream) {
        // A reader that came without a cursor, and is disconnected before the first event, continues from here.
        if (wanted === undefined) stream.standAt(renderCursor(cursor))
        return lifecycle.follow({ tenantId, cursor, sink: stream, signal: stream.signal })
      },
      onFault: (error) => log.error({ err: error }, 'lifecycle feed failed'),
    })
  },
})

export const LIFECYCLE = [followLifecycle]
