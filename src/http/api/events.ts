import { sendJson } from '../context.ts'
import { Event } from '../contract/event.ts'
import { Count, closed } from '../contract/values.ts'
import { Type } from '../jsonSchema.ts'
import { operation } from '../operation.ts'
import { CURSOR_INSERTED_AT, choiceInQuery, eventFilter, LIMIT, seqCursor, WAIT } from '../parameters.ts'
import { withRequestSignal } from '../requestSignal.ts'
import { reserveResponse } from '../responseMemory.ts'

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

const list = operation({
  method: 'get',
  path: '/v1/sessions/:id/events',
  id: 'listEvents',
  tag: 'events',
  summary: 'A page of history, or the next events by long-poll',
  description:
    'With a filter the cursor also passes events that did not match: a page may be empty before the end.',
  scope: 'session:read',
  parameters: {
    cursor: seqCursor(
      'With `asc` events after it, from 0 on when absent; with `desc` events before it, from the end on when absent.',
    ),
    cursor_inserted_at: CURSOR_INSERTED_AT,
    limit: LIMIT,
    order: choiceInQuery('invalid_list_query', ['asc', 'desc'], 'asc', 'Which way to page.'),
    type: eventFilter('Only events of exactly this type.'),
    actor: eventFilter('Only events of exactly this actor.'),
    wait: WAIT,
  },
  answers: { 200: { description: 'A page of events.', content: { 'application/json': EventPage } } },
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
    if (page.order === 'asc') await services.cursors.refuseAhead(cursor ?? 0, session.lastSeq)
    await services.cursors.check(session, cursor ?? 0, seenAt)
    // A request that waits counts as a tail.
    const release = waitMs > 0 ? services.tailQuota.take(principal) : undefined
    const hold = (bytes: number) => reserveResponse(ctx, services.answers, bytes)
    const { frames, nextCursor, lastSeq } = await withRequestSignal(
      ctx,
      services.sockets.draining,
      (signal) =>
        services.history.page({
          ...page,
          cursor,
          waitMs,
          sid: session.sid,
          lastSeq: session.lastSeq,
          signal,
          hold,
        }),
    ).finally(release)
    const events = frames.map((event) => event.text).join(',')
    sendJson(ctx, 200, `{"events":[${events}],"next_cursor":${nextCursor},"last_seq":${lastSeq}}`)
  },
})

export const EVENTS = [list]
