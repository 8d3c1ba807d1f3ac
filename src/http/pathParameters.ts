import type { TSchema } from 'typebox'
import { AppError } from '../protocol/errors.ts'
import type { Seq } from '../protocol/event.ts'
import { Type } from './jsonSchema.ts'
import { existingSessionId } from './sessionId.ts'

interface PathParameter {
  readonly schema: TSchema
  readonly description: string
  /** Throws the code for a resource that does not exist when no resource can have this name. */
  read(text: string): unknown
}

/** The parameters that paths of operations may have, by name. `id` is always the id of a session. */
export const PATH_PARAMETERS = {
  id: {
    schema: Type.String({ minLength: 1 }),
    description: 'The id of the session, percent-encoded: 1 to 256 bytes without control characters.',
    read: existingSessionId,
  },
  seq: { schema: Type.Integer({ minimum: 1 }), description: 'The seq of the event.', read: existingSeq },
  erasure: {
    schema: Type.String({ minLength: 1 }),
    description: 'The id of the erasure.',
    read: (text: string): string => text,
  },
} as const satisfies Record<string, PathParameter>

type Name = keyof typeof PATH_PARAMETERS
type Named<Text> = Text extends Name
  ? { readonly [K in Text]: ReturnType<(typeof PATH_PARAMETERS)[K]['read']> }
  : never

/** The values of the parameters of a path such as `/v1/sessions/:id`. */
export type PathValues<Path extends string> = Path extends `${string}:${infer First}/${infer Rest}`
  ? Named<First> & PathValues<Rest>
  : Path extends `${string}:${infer Last}`
    ? Named<Last>
    : unknown

/** The names of the parameters of a path, in their order. Throws for one that is not described. */
export const namesIn = (path: string): Name[] =>
  [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => {
    if (!(name in PATH_PARAMETERS)) throw new Error(`the path parameter ${name} is not described`)
    return name as Name
  })

function existingSeq(text: string): Seq {
  const seq = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : Number.NaN
  if (seq <= Number.MAX_SAFE_INTEGER) return seq
  throw new AppError('event_not_found', `the session has no event ${JSON.stringify(text.slice(0, 32))}`)
}
