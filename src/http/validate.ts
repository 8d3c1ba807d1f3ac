import { Ajv, type ErrorObject } from 'ajv'
import type { Static, TObject, TSchema } from 'typebox'
import { AppError, type ErrorCode } from '../protocol/errors.ts'

const ajv = new Ajv({ strict: true, messages: true, allowUnionTypes: true })

/** Members whose problems have a code of their own. */
const OWN_CODES: Readonly<Record<string, ErrorCode>> = { metadata: 'invalid_metadata', refs: 'invalid_refs' }

export type Validator<T extends TObject> = (value: unknown, where?: string) => Static<T>

/**
 * Checks a parsed body against a schema. Throws an AppError of the given code whose message and `field` name the member that
 * does not match. Two rules of the wire contract are applied to the value first, in place: null means that a member was not
 * given, unless the schema allows null, and an integer may be a decimal string.
 */
export function validator<T extends TObject>(schema: T, code: ErrorCode): Validator<T> {
  const check = ajv.compile(schema)
  const nullable = membersOf(schema, allowsNull)
  const integers = membersOf(schema, isInteger)
  const inner = Object.entries(schema.properties).map(
    ([name, member]) => [name, membersOf(member, isInteger)] as const,
  )
  const integersWithin = inner.filter(([, names]) => names.length > 0)
  return (value, where = '') => {
    if (isRecord(value)) {
      dropNulls(value, nullable)
      for (const name of integers) toInteger(value, name)
      for (const [name, names] of integersWithin) toIntegers(value[name], names)
    }
    if (!check(value)) throw toAppError(check.errors?.[0], code, where)
    return value as Static<T>
  }
}

interface Member {
  readonly type?: string
  readonly anyOf?: readonly Member[]
  readonly properties?: Readonly<Record<string, Member>>
}

const isInteger = ({ type }: Member) => type === 'integer'
const allowsNull = ({ anyOf = [] }: Member) => anyOf.some(({ type }) => type === 'null')
const membersOf = (schema: TSchema, has: (member: Member) => boolean): string[] =>
  Object.entries((schema as Member).properties ?? {}).flatMap(([name, member]) => (has(member) ? [name] : []))

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function dropNulls(value: Record<string, unknown>, nullable: readonly string[]): void {
  for (const [name, member] of Object.entries(value)) {
    if (member === null && !nullable.includes(name)) delete value[name]
  }
}

function toInteger(value: Record<string, unknown>, name: string): void {
  const member = value[name]
  if (typeof member === 'string' && /^\d{1,16}$/.test(member)) value[name] = Number(member)
}

function toIntegers(value: unknown, names: readonly string[]): void {
  if (!isRecord(value)) return
  for (const name of names) {
    if (value[name] === null) delete value[name]
    else toInteger(value, name)
  }
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
