import type { ParsedUrlQuery } from 'node:querystring'
import type { Context } from 'koa'
import type { TSchema } from 'typebox'
import { AppError, type ErrorCode } from '../protocol/errors.ts'
import { MAX_BATCH_SIZE, MAX_WAIT_SECONDS, PAGE } from './bounds.ts'
import { Type } from './jsonSchema.ts'
import { choice, cursorAt, insertedAt, integer, one } from './query.ts'

/** A parameter of an operation: its description for OpenAPI, and how it is read. */
export interface Parameter<Value = unknown> {
  readonly in: 'query' | 'header'
  readonly description: string
  readonly schema: TSchema
  readonly style?: 'deepObject'
  /** The code for an invalid value. Absent: every value is valid. */
  readonly error?: ErrorCode
  /** Throws an AppError of the code `error`. */
  read(ctx: Context, name: string): Value
}

export type Parameters = Readonly<Record<string, Parameter>>
export type ParameterValues<P extends Parameters> = { readonly [K in keyof P]: ReturnType<P[K]['read']> }

export function inQuery<Value>(
  error: ErrorCode,
  schema: TSchema,
  description: string,
  read: (query: ParsedUrlQuery, name: string) => Value,
): Parameter<Value> {
  return { in: 'query', error, schema, description, read: (ctx, name) => read(ctx.query, name) }
}

interface Range {
  readonly minimum: number
  readonly maximum: number
  readonly default?: number
}

function integerInQuery(error: ErrorCode, range: Range, description: string): Parameter<number | undefined> {
  const bounds = { min: range.minimum, max: range.maximum }
  return inQuery(error, Type.Integer({ ...range }), description, (query, name) =>
    integer(query, name, error, bounds),
  )
}

/** One of several values; `absent` is the default. */
export function choiceInQuery<const T extends string>(
  error: ErrorCode,
  allowed: readonly T[],
  absent: T,
  description: string,
): Parameter<T> {
  return inQuery(
    error,
    Type.Enum([...allowed], { default: absent }),
    description,
    (query, name) => choice(query, name, error, allowed) ?? absent,
  )
}

export const textInQuery = (error: ErrorCode, description: string): Parameter<string | undefined> =>
  inQuery(error, Type.String({ minLength: 1 }), description, (query, name) => one(query, name, error))

/** A request header. Its value is empty when it is absent. */
export const header = (schema: TSchema, description: string): Parameter<string> => ({
  in: 'header',
  schema,
  description,
  read: (ctx, name) => ctx.get(name),
})

export const LIMIT = inQuery(
  'invalid_limit',
  Type.Integer({ minimum: 1, maximum: PAGE.max, default: PAGE.default }),
  'The most entries that a page may have.',
  (query, name) => integer(query, name, 'invalid_limit', { min: 1, max: PAGE.max }) ?? PAGE.default,
)

/** A cursor in a session: a seq, or undefined when it is absent. */
export const seqCursor = (description: string, absent?: number): Parameter<number | undefined> =>
  integerInQuery(
    'invalid_cursor',
    { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, ...(absent !== undefined && { default: absent }) },
    description,
  )

const timeSchema = () => Type.String({ format: 'date-time', pattern: '^.{26}Z$' })

export const CURSOR_INSERTED_AT = inQuery(
  'invalid_cursor',
  timeSchema(),
  '`inserted_at` of the event at `cursor`, unchanged. If the log has another event there, the response is `history_changed`.',
  (query, name) => insertedAt(one(query, name, 'invalid_cursor')),
)

export const FEED_CURSOR_AT = inQuery(
  'invalid_cursor',
  timeSchema(),
  'The `cursor_at` that came with the cursor. If the feed has another event there, the response is `history_changed`.',
  (query, name) => cursorAt(one(query, name, 'invalid_cursor')),
)

export const LAST_EVENT_ID: Parameter<string> = {
  ...header(
    Type.String({ minLength: 1 }),
    'The id of the last event received; it takes precedence over `cursor`. An EventSource sends it when it reconnects.',
  ),
  error: 'invalid_cursor',
}

/** The time to wait: seconds in the query, milliseconds when read. */
export const WAIT: Parameter<number> = inQuery(
  'invalid_list_query',
  Type.Integer({ minimum: 0, maximum: MAX_WAIT_SECONDS, default: 0 }),
  'With `asc`: how many seconds to wait for an event after the cursor, when there is none.',
  (query, name) =>
    1000 * (integer(query, name, 'invalid_list_query', { min: 0, max: MAX_WAIT_SECONDS }) ?? 0),
)

export const BATCH_SIZE = integerInQuery(
  'invalid_tail_batch_size',
  { minimum: 1, maximum: MAX_BATCH_SIZE, default: 1 },
  'From 2 on, every frame is an array of up to this many events.',
)

/** A filter of events: a text, or null when it is absent. */
export const eventFilter = (description: string): Parameter<string | null> =>
  inQuery('invalid_list_query', Type.String({ minLength: 1 }), description, (query, name) => {
    const value = one(query, name, 'invalid_list_query')
    if (value === '' || value?.includes('\0'))
      throw new AppError('invalid_list_query', `${name} must be a non-empty string without NUL`, {
        field: name,
      })
    return value ?? null
  })
