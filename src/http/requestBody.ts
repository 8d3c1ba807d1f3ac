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

/** The body of an operation: its description for OpenAPI, and how it is read. */
export interface RequestBody<Value = unknown> {
  readonly required: boolean
  /** The schema of its JSON for OpenAPI. */
  readonly schema: TSchema
  readonly kinds: readonly BodyKind[]
  /** The codes that `parse` throws, beside invalid_json. */
  readonly errors: readonly ErrorCode[]
  maxBytes(config: Config): number
  parse(text: string, context: BodyContext): Value | Promise<Value>
}

interface JsonBody<Schema extends TObject, Value> {
  readonly schema: Schema
  /** Absent: the body may be empty, which means an object without members. */
  readonly required?: true
  /** The code for a body that does not match the schema. */
  readonly error: ErrorCode
  /** Other codes that `read` throws. */
  readonly errors?: readonly ErrorCode[]
  read(body: Static<Schema>, object: JsonObjectText, context: BodyContext): Value
}

/** A body that is one JSON object of at most the size of an event. `read` converts it to what the handler gets. */
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
