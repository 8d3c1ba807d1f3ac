import { renderAppended } from '../appended.ts'
import { sendJson } from '../context.ts'
import { Appended, AppendedBatch } from '../contract/appended.ts'
import { APPEND_ERRORS, MANY_EVENTS, ONE_EVENT } from '../eventBodies.ts'
import { json, operation } from '../operation.ts'

const appendOne = operation({
  method: 'post',
  path: '/v1/sessions/:id/append',
  id: 'appendEvent',
  tag: 'events',
  summary: 'Append an event',
  description:
    'The response means that the event is committed. With `producer_id` and `producer_seq` a retry never stores it twice; ' +
    'with `expected_seq` it is stored only if that is the newest seq of the session.',
  scope: 'session:append',
  body: ONE_EVENT,
  answers: {
    201: json('The event is stored, now or by an earlier attempt.', Appended),
  },
  errors: APPEND_ERRORS,
  async handle({ ctx, body, path, principal, services }) {
    const { tenantId } = principal
    const result = await services.appends.append({ tenantId, sessionId: path.id, ...body, isBatch: false })
    sendJson(ctx, 201, renderAppended(result))
  },
})

const appendMany = operation({
  method: 'post',
  path: '/v1/sessions/:id/events',
  id: 'appendEvents',
  tag: 'events',
  summary: 'Append many events, all or none',
  description:
    'An error names the `index` of the event. The body may also be NDJSON, one event per line, with `Content-Type: ' +
    'application/x-ndjson`. Only this text describes it, because clients that are generated from two types of body ' +
    'send neither.',
  scope: 'session:append',
  body: MANY_EVENTS,
  answers: {
    201: json('All events are stored, now or by an earlier attempt.', AppendedBatch),
  },
  errors: APPEND_ERRORS,
  async handle({ ctx, body, path, principal, services }) {
    const { tenantId } = principal
    const { results, lastSeq } = await services.appends.append({
      tenantId,
      sessionId: path.id,
      ...body,
      isBatch: true,
    })
    const cursor = results.at(-1)?.seq ?? lastSeq
    sendJson(ctx, 201, JSON.stringify({ results, last_seq: lastSeq, cursor, committed_cursor: lastSeq }))
  },
})

export const APPEND = [appendOne, appendMany]
