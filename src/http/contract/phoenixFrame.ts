import type { TSchema } from 'typebox'
import { Type } from '../jsonSchema.ts'
import { closed } from './values.ts'

/** The number that a client gives a message. Replies echo it unchanged. */
const Ref = Type.Union([Type.String({ maxLength: 64 }), Type.Number()], { title: 'Ref' })
const MaybeRef = Type.Union([Ref, Type.Null()], { title: 'MaybeRef' })

const frameSchema = (joinRef: TSchema, ref: TSchema, topic: TSchema, event: TSchema, payload: TSchema) =>
  Type.Union([
    Type.Unsafe({
      description: 'vsn=2.0.0: join_ref, ref, topic, event, payload.',
      type: 'array',
      items: [joinRef, ref, topic, event, payload],
      additionalItems: false,
      minItems: 5,
      maxItems: 5,
    }),
    Type.Object({ topic, event, payload, ref }, { description: 'vsn=1.0.0.', additionalProperties: false }),
  ])

/** A frame that the node sends unasked. */
export const push = (topic: TSchema, event: string, payload: TSchema) =>
  frameSchema(Ref, Type.Null(), topic, Type.Literal(event), payload)

/** A frame about a join as a whole, with the ref of the join. */
export const aboutJoin = (topic: TSchema, event: string) =>
  frameSchema(Ref, Ref, topic, Type.Literal(event), closed({}))

/** The reply to a message of the client. */
export const reply = (topic: TSchema, status: 'ok' | 'error', response: TSchema) =>
  frameSchema(
    MaybeRef,
    MaybeRef,
    topic,
    Type.Literal('phx_reply'),
    closed({ status: Type.Literal(status), response }),
  )

/** A successful reply without content. */
export const done = (topic: TSchema) => reply(topic, 'ok', closed({}))

export const refused = (topic: TSchema, reasons: readonly string[]) =>
  reply(topic, 'error', closed({ reason: Type.Enum([...reasons]) }))

/** A message of the client. */
export const message = (topic: TSchema, event: string, payload: TSchema) =>
  Type.Union([
    Type.Unsafe({
      description: 'vsn=2.0.0: join_ref, ref, topic, event, payload.',
      type: 'array',
      items: [MaybeRef, MaybeRef, topic, Type.Literal(event), payload],
      minItems: 5,
    }),
    Type.Object(
      { topic, event: Type.Literal(event), payload, ref: Type.Optional(MaybeRef) },
      { description: 'vsn=1.0.0.' },
    ),
  ])
