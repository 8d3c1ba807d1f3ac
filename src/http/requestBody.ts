import type { Static, TObject, TSchema } from 'typebox'
import type { Principal } from '../auth/principal.ts'
import type { Config } from '../config.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import type { BodyKind } from './body.ts'
import { innerValue, type JsonObjectText, parseObject } from './json.ts'
import { validator } from './validate.ts'

export interface BodyContext {
  readonly kind: BodyKind
  readonly principal: Principal
  readonly config: Config
}

/** The body of an operation, as it is described and as it is read. */
export interface RequestBody<Value = unknown> {
  readonly required: boolean
  /** Of JSON, as it is described. */
  readonly schema: TSchema
  readonly kinds: readonly BodyKind[]
  /** What `parse` throws, beside invalid_json. */
  readonly errors: readonly ErrorCode[]
  maxBytes(config: Config): number
  parse(text: string, context: BodyContext): Value | Promise<Value>
}

interface JsonBody<Schema extends TObject, Value> {
  readonly schema: Schema
  /** Absent: the body may be left out, and is an object without members then. */
  readonly required?: true
  /** Of a body that the schema does not allow. */
  readonly error: ErrorCode
  /** What `read` throws besides. */
  readonly errors?: readonly ErrorCode[]
  read(body: Static<Schema>, object: JsonObjectText, context: BodyContext): Value
}

/** A body that is one JSON object, as large as an event may be. `read` makes of it what the handler gets. */
export function jsonBody<Schema extends TObject, Value>({
  schema,
  required,
  error,
  errors = [],
  read,
}: JsonBody<Schema, Value>): RequestBody<Value> {
  const names = Object.keys(schema.properties)
  const inner = Object.entries(schema.properties).flatMap(([name, member]) => {
    const { properties } = member as { properties?: object }
    return properties && Object.keys(properties).length > 0 ? [[name, Object.keys(properties)] as const] : []
  })
  const check = validator(schema, error)
  return {
    required: required ?? false,
    schema,
    kinds: ['json'],
    errors: [error, ...errors],
    maxBytes: ({ limits }) => limits.eventBytes,
    parse(text, context) {
      const object = parseObject(!required && text.trim() === '' ? '{}' : text, names, error)
      for (const [name, members] of inner)
        if (object.members.has(name)) object.value[name] = innerValue(object, name, members)
      return read(check(object.value), object, context)
    },
  }
}
