import type { TProperties, TSchema } from 'typebox'
import { requireSession } from '../../auth/access.ts'
import type { Erasure, ErasureRequest } from '../../sessions/erasure/queries.ts'
import { renderReceipt } from '../../sessions/erasure/receipt.ts'
import { type State, sendJson } from '../context.ts'
import { Count, closed, Seq, Text, Time } from '../contract/values.ts'
import { assertStorable } from '../json.ts'
import { Type } from '../jsonSchema.ts'
import { type Call, json, operation, type ScopeSettings } from '../operation.ts'
import type { Parameters } from '../parameters.ts'
import { jsonBody } from '../requestBody.ts'
import { ErasureBody } from '../schemas.ts'

const receipt = (kind: 'session' | 'event', members: TProperties, title: string) =>
  closed(
    {
      id: Text('The id of the erasure.'),
      kind: Type.Literal(kind),
      session_id: Text('The id of the session.'),
      ...members,
      status: Type.Enum(['pending', 'done']),
      requested_at: Time('When the erasure was requested.'),
      completed_at: Type.Optional(Time('When the erasure was completed.')),
      subject: Type.Optional(Text("The subject of the requester's token.")),
      request_id: Type.Optional(Text('The X-Request-Id of the request.')),
      reason: Type.Optional(Text('The reason that the request gave.')),
      removed: closed({
        hot_events: Count('Events removed from Postgres.'),
        cold_events: Count('Events removed from cold storage.'),
        objects: Count('Objects deleted or rewritten.'),
      }),
      delayed: Type.Optional(
        Type.Literal(true, { description: 'An attempt failed; the node will try again.' }),
      ),
    },
    { title },
  )

const ErasedSession = receipt(
  'session',
  {
    last_seq: Count('The newest seq of the session.'),
    chain_hash: Type.Union([Type.String({ pattern: '^[0-9a-f]{64}$' }), Type.Null()], {
      description: 'The last hash of its chain.',
    }),
  },
  'ErasedSession',
)
const RedactedEvent = receipt('event', { seq: Seq('The seq of the event.') }, 'RedactedEvent')

const accepted = (receiptSchema: TSchema) => ({
  200: json('The content is removed.', receiptSchema, 'Location'),
  202: json('Readers no longer see the content; the node is still removing it.', receiptSchema, 'Location'),
})

const ERASURE_BODY = jsonBody({
  schema: ErasureBody,
  error: 'invalid_erasure',
  read(body) {
    assertStorable(body, ['reason'], 'invalid_erasure')
    return { reason: body.reason ?? null, vacuum: body.vacuum ?? false }
  },
})

const scope = ({ eraseScope }: ScopeSettings) => eraseScope
const description = 'STARCITE_ERASE_SCOPE decides the required scope.'

const eraseSession = operation({
  method: 'delete',
  path: '/v1/sessions/:id',
  id: 'eraseSession',
  tag: 'erasure',
  summary: 'Erase a session',
  description,
  scope,
  body: ERASURE_BODY,
  answers: accepted(ErasedSession),
  errors: ['legal_hold'],
  async handle(call) {
    answer(call, await call.services.erasures.eraseSession(requestOf(call)))
  },
})

const redactEvent = operation({
  method: 'post',
  path: '/v1/sessions/:id/events/:seq/redact',
  id: 'redactEvent',
  tag: 'erasure',
  summary: 'Erase the content of an event',
  description,
  scope,
  body: ERASURE_BODY,
  answers: accepted(RedactedEvent),
  errors: ['event_not_found', 'legal_hold'],
  async handle(call) {
    answer(call, await call.services.erasures.redactEvent(requestOf(call), call.path.seq))
  },
})

const getErasure = operation({
  method: 'get',
  path: '/v1/erasures/:erasure',
  id: 'getErasure',
  tag: 'erasure',
  summary: 'Show the receipt of an erasure',
  description,
  scope,
  answers: {
    200: json('The receipt.', Type.Union([ErasedSession, RedactedEvent])),
  },
  errors: ['forbidden_session', 'erasure_not_found'],
  async handle({ ctx, path, principal, services }) {
    const erasure = await services.erasures.get(principal.tenantId, path.erasure)
    requireSession(principal, erasure.sessionId)
    sendJson(ctx, 200, renderReceipt(erasure))
  },
})

export const ERASURES = [eraseSession, redactEvent, getErasure]

type ErasureCall = Call<'/v1/sessions/:id', Parameters, { reason: string | null; vacuum: boolean }>

function requestOf({ ctx, body, path, principal }: ErasureCall): ErasureRequest {
  return {
    tenantId: principal.tenantId,
    sessionId: path.id,
    subject: principal.actor,
    requestId: (ctx.state as State).requestId,
    ...body,
  }
}

/** Responds with the receipt: 202 while content is still to be removed. Location has the path of the receipt. */
function answer({ ctx }: Pick<Call, 'ctx'>, erasure: Erasure): void {
  ctx.set('Location', `/v1/erasures/${erasure.id}`)
  sendJson(ctx, erasure.isDone ? 200 : 202, renderReceipt(erasure))
}
