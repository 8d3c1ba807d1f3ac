import { seenLog } from '../../sessions/session.ts'
import { sendJson } from '../context.ts'
import { Event } from '../contract/event.ts'
import { Count, closed } from '../contract/values.ts'
import { Type } from '../jsonSchema.ts'
import { json, operation } from '../operation.ts'
import { CURSOR_INSERTED_AT, choiceInQuery, eventFilter, LIMIT, seqCursor, WAIT } from '../parameters.ts'
import { withRequestSignal } from '../requestSignal.ts'
import { reserveResponse } from '../responseMemory.ts'

const EventPage = closed(
  {
    events: Type.Array(Event),
    next_cursor: Type.Union([Count('The cursor of the next page.'), Type.Null()], {
      description: 'With `asc` always a number; with `desc` null when the page has the first event.',
    }),
    last_seq: Count('The newest seq of the session.'),
  },
  { title: 'EventPage' },
)

const list = operation({
  method: 'get',
  path: '/v1/sessions/:id/events',
  id: 'listEvents',
  tag: 'events',
  summary: 'Read a page of history, or wait for the next events by long-poll',
  description:
    'With a filter the cursor also advances past events that do not match, so a page before the end may be empty.',
  scope: 'session:read',
  parameters: {
    cursor: seqCursor(
      'With `asc` the page begins after it (default: 0); with `desc` before it (default: the end).',
    ),
    cursor_inserted_at: CURSOR_INSERTED_AT,
    limit: LIMIT,
    order: choiceInQuery('invalid_list_query', ['asc', 'desc'], 'asc', 'The order of the events.'),
    type: eventFilter('Only events with exactly this type.'),
    actor: eventFilter('Only events with exactly this actor.'),
    wait: WAIT,
  },
  answers: { 200: json('A page of events.', EventPage) },
  errors: [
    'cursor_ahead',
    'history_changed',
    'history_damaged',
    'too_many_tails',
    'archive_read_unavailable',
  ],
  async handle({ ctx, parameters, path, principal, services }) {
    const { cursor, cursor_inserted_at: seenAt, wait: waitMs, ...page } = parameters
    const session = await services.sessions.get(principal.tenantId, path.id)
    if (page.order === 'asc') await services.cursors.assertNotAhead(cursor ?? 0, session.lastSeq)
    await services.cursors.check(session, cursor ?? 0, seenAt)
    // A request that waits counts as a tail.
    const release = waitMs > 0 ? services.tailQuota.take(principal) : undefined
    const hold = (bytes: number) => reserveResponse(ctx, services.answers, bytes)
    const {
      events: found,
      nextCursor,
      lastSeq,
    } = await withRequestSignal(ctx, services.sockets.draining, (signal) =>
      services.history.page({
        ...page,
        cursor,
        waitMs,
        sid: session.sid,
        lastSeq: session.lastSeq,
        seen: seenLog(session),
        signal,
        hold,
      }),
    ).finally(release)
    const events = found.map((event) => event.text).join(',')
    sendJson(ctx, 200, `{"events":[${events}],"next_cursor":${nextCursor},"last_seq":${lastSeq}}`)
  },
})

export const EVENTS = [list]
