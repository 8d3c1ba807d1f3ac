import { Ajv, type ErrorObject } from 'ajv'
import type { Static, TSchema } from 'typebox'
import { AppError, type ErrorCode } from '../protocol/errors.ts'

const ajv = new Ajv({ strict: true, messages: true, allowUnionTypes: true })

/** Members whose own problems have their own code. */
const OWN_CODES: Readonly<Record<string, ErrorCode>> = { metadata: 'invalid_metadata', refs: 'invalid_refs' }

export type Validator<T extends TSchema> = (value: unknown, where?: string) => Static<T>

/**
 * A check of a parsed body against a schema. What does not fit throws an AppError of the given code whose message and
 * `field` name the member. Two kindnesses of the wire contract are applied to the value first, in place: null means
 * not given, and a decimal string stands for an integer.
 */
export function validator<T extends TSchema>(
  schema: T,
  code: ErrorCode,
  options: { nullable?: readonly string[]; integers?: readonly string[] } = {},
): Validator<T> {
  const check = ajv.compile(schema)
  const { nullable = [] } = options
  const integers = (options.integers ?? []).map((path) => path.split('.') as [string, string?])
  return (value, where = '') => {
    if (isRecord(value)) {
      dropNulls(value, nullable)
      for (const [name, inner] of integers) toInteger(value, name, inner)
    }
    if (!check(value)) throw toAppError(check.errors?.[0], code, where)
    return value as Static<T>
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function dropNulls(value: Record<string, unknown>, nullable: readonly string[]): void {
  for (const [name, member] of Object.entries(value)) {
    if (member === null && !nullable.includes(name)) delete value[name]
  }
}

function toInteger(value: Record<string, unknown>, name: string, inner?: string): void {
  const member = value[name]
  if (inner !== undefined) {
    if (!isRecord(member)) return
    if (member[inner] === null) delete member[inner]
    else toInteger(member, inner)
  } else if (typeof member === 'string' && /^\d{1,16}$/.test(member)) value[name] = Number(member)
}

function toAppError(error: ErrorObject | undefined, code: ErrorCode, where: string): AppError {
  const path = (error?.instancePath ?? '').split('/').slice(1).map(unescapePointer)
  if (error?.keyword === 'required') path.push(String(error.params.missingProperty))
  const field = path.join('.')
  const expected = error?.keyword === 'required' ? 'is required' : (error?.message ?? 'is not valid')
  return new AppError(
    OWN_CODES[path[0] ?? ''] ?? code,
    `${where}${field || 'the body'} ${expected}`,
    field ? { field } : {},
  )
}

const unescapePointer = (part: string) => part.replaceAll('~1', '/').replaceAll('~0', '~')
