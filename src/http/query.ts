import type { ParsedUrlQuery } from 'node:querystring'
import { AppError, type ErrorCode } from '../protocol/errors.ts'
import { microseconds } from '../protocol/event.ts'

/** The value of a query parameter; undefined when it is absent. Throws `code` when it is given more than once. */
export function one(query: ParsedUrlQuery, name: string, code: ErrorCode): string | undefined {
  const value = query[name]
  if (Array.isArray(value)) throw new AppError(code, `${name} is given more than once`, { field: name })
  return value
}

export function integer(
  query: ParsedUrlQuery,
  name: string,
  code: ErrorCode,
  range: { min: number; max: number },
): number | undefined {
  const text = one(query, name, code)
  if (text === undefined) return undefined
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= range.min && value <= range.max) return value
  throw new AppError(code, `${name} must be an integer from ${range.min} to ${range.max}`, { field: name })
}

export function choice<T extends string>(
  query: ParsedUrlQuery,
  name: string,
  code: ErrorCode,
  allowed: readonly T[],
): T | undefined {
  const text = one(query, name, code)
  if (text === undefined) return undefined
  const value = allowed.find((it) => it === text)
  if (value !== undefined) return value
  throw new AppError(code, `${name} must be one of ${allowed.join(', ')}`, { field: name })
}

/** The format of times in events. */
const INSERTED_AT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/

/** Validates `cursor_inserted_at`, from a query or a message. Throws invalid_cursor. */
export const insertedAt = (given: unknown): string | undefined => timeAt(given, 'cursor_inserted_at')

/** Validates `cursor_at` of the lifecycle feed, and converts it to microseconds since 1970. Throws invalid_cursor. */
export function cursorAt(given: unknown): number | undefined {
  const time = timeAt(given, 'cursor_at')
  return time === undefined ? undefined : microseconds(time)
}

function timeAt(given: unknown, field: string): string | undefined {
  if (given === undefined || given === null) return undefined
  if (typeof given === 'string' && INSERTED_AT.test(given)) return given
  throw new AppError(
    'invalid_cursor',
    `${field} must be the timestamp that came with the cursor, unchanged`,
    {
      field,
    },
  )
}
