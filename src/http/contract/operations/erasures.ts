import { type TProperties, Type } from 'typebox'
import { ErasureBody } from '../../schemas.ts'
import type { Answer, Operation } from '../operation.ts'
import { Count, closed, Seq, Text, Time } from '../values.ts'

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
const asked = (content: Answer['content']) => ({
  200: shown(content, 'All of it is removed.'),
  202: shown(content, 'Nobody is shown it any more; the rest is being removed.'),
})

const ofErasure = {
  tag: 'erasure',
  scope: 'session:create',
  description: 'With STARCITE_ERASE_SCOPE=session:erase the scope is that.',
} as const

/** See routes/erasures.ts. */
export const ERASURE_OPERATIONS: readonly Operation[] = [
  {
    ...ofErasure,
    method: 'delete',
    path: '/v1/sessions/:id',
    id: 'eraseSession',
    summary: 'Erase a session',
    body: { required: false, content: { [JSON_TYPE]: ErasureBody } },
    answers: asked({ [JSON_TYPE]: ErasedSession }),
    errors: ['invalid_erasure', 'legal_hold'],
  },
  {
    ...ofErasure,
    method: 'post',
    path: '/v1/sessions/:id/events/:seq/redact',
    id: 'redactEvent',
    summary: 'Erase the content of an event',
    body: { required: false, content: { [JSON_TYPE]: ErasureBody } },
    answers: asked({ [JSON_TYPE]: RedactedEvent }),
    errors: ['invalid_erasure', 'event_not_found', 'legal_hold'],
  },
  {
    ...ofErasure,
    method: 'get',
    path: '/v1/erasures/:erasure',
    id: 'getErasure',
    summary: 'Show how far an erasure has come',
    answers: {
      200: {
        description: 'The receipt.',
        content: { [JSON_TYPE]: Type.Union([ErasedSession, RedactedEvent]) },
      },
    },
    errors: ['forbidden_session', 'erasure_not_found'],
  },
]
