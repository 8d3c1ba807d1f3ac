import type { TProperties } from 'typebox'
import { requireSession } from '../../auth/access.ts'
import type { Erasure, ErasureRequest } from '../../sessions/erasure/queries.ts'
import { renderReceipt } from '../../sessions/erasure/receipt.ts'
import { type State, sendJson } from '../context.ts'
import { Count, closed, Seq, Text, Time } from '../contract/values.ts'
import { assertStorable } from '../json.ts'
import { Type } from '../jsonSchema.ts'
import { type Answer, type Call, operation, type ScopeSettings } from '../operation.ts'
import type { Parameters } from '../parameters.ts'
import { jsonBody } from '../requestBody.ts'
import { ErasureBody } from '../schemas.ts'

const JSON_TYPE = 'application/json'

const receipt = (kind: 'session' | 'event', members: TProperties, title: string) =>
  closed(
    {
      id: Text('Of the erasure.'),
      kind: Type.Literal(kind),
      session_id: Text('What was erased, or of what.'),
      ...members,
      status: Type.Enum(['pending', 'done']),
      requested_at: Time('When it was asked for.'),
      completed_at: Type.Optional(Time('When the last of it was removed.')),
      subject: Type.Optional(Text('Who asked for it.')),
      request_id: Type.Optional(Text('The X-Request-Id that it was asked for with.')),
      reason: Type.Optional(Text('Why.')),
      removed: closed({
        hot_events: Count('Events removed from Postgres.'),
        cold_events: Count('Events removed from cold storage.'),
        objects: Count('Objects removed or written anew.'),
      }),
      delayed: Type.Optional(Type.Literal(true, { description: 'An attempt failed and is made again.' })),
    },
    { title },
  )

const ErasedSession = receipt(
  'session',
  {
    last_seq: Count('How far its log went.'),
    chain_hash: Type.Union([Type.String({ pattern: '^[0-9a-f]{64}$' }), Type.Null()], {
      description: 'The end of its hash chain.',
    }),
  },
  'ErasedSession',
)
const RedactedEvent = receipt('event', { seq: Seq('Which event.') }, 'RedactedEvent')

const shown = (content: Answer['content'], description: string): Answer => ({
  description,
  ...(content && { content }),
  headers: ['Location'],
})
const accepted = (content: Answer['content']) => ({
  200: shown(content, 'All of it is removed.'),
  202: shown(content, 'Nobody is shown it any more; the rest is being removed.'),
})

const WANTED = jsonBody({
  schema: ErasureBody,
  error: 'invalid_erasure',
  read(body) {
    assertStorable(body, ['reason'], 'invalid_erasure')
    return { reason: body.reason ?? null, vacuum: body.vacuum ?? false }
  },
})

const scope = ({ eraseScope }: ScopeSettings) => eraseScope
const description = 'The scope is that of STARCITE_ERASE_SCOPE.'

const eraseSession = operation({
  method: 'delete',
  path: '/v1/sessions/:id',
  id: 'eraseSession',
  tag: 'erasure',
  summary: 'Erase a session',
  description,
  scope,
  body: WANTED,
  answers: accepted({ [JSON_TYPE]: ErasedSession }),
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
  body: WANTED,
  answers: accepted({ [JSON_TYPE]: RedactedEvent }),
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
  summary: 'Show how far an erasure has come',
  description,
  scope,
  answers: {
    200: {
      description: 'The receipt.',
      content: { [JSON_TYPE]: Type.Union([ErasedSession, RedactedEvent]) },
    },
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

/** 202 while something is still to be removed; Location says where to look. */
function answer({ ctx }: Pick<Call, 'ctx'>, erasure: Erasure): void {
  ctx.set('Location', `/v1/erasures/${erasure.id}`)
  sendJson(ctx, erasure.isDone ? 200 : 202, renderReceipt(erasure))
}
