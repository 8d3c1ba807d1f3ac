import type { Type as TypeBox } from 'typebox'

type Schema = Record<string, unknown>
type Options = Readonly<Record<string, unknown>>

/** The schemas that `Optional` has made: an object does not require these members. */
const optionals = new WeakSet<object>()

const builders = {
  Array: (items: Schema, options?: Options) => ({ type: 'array', items, ...options }),
  Boolean: (options?: Options) => ({ type: 'boolean', ...options }),
  Enum: (values: readonly unknown[], options?: Options) => ({ enum: values, ...options }),
  Integer: (options?: Options) => ({ type: 'integer', ...options }),
  Literal: (value: unknown, options?: Options) => ({ type: typeof value, const: value, ...options }),
  Null: (options?: Options) => ({ type: 'null', ...options }),
  Number: (options?: Options) => ({ type: 'number', ...options }),
  Object: (properties: Readonly<Record<string, Schema>>, options?: Options) => {
    const required = Object.keys(properties).filter((name) => !optionals.has(properties[name] as Schema))
    return { type: 'object', ...(required.length > 0 && { required }), properties, ...options }
  },
  Optional: (schema: Schema) => {
    const optional = { ...schema }
    optionals.add(optional)
    return optional
  },
  String: (options?: Options) => ({ type: 'string', ...options }),
  Union: (anyOf: readonly Schema[], options?: Options) => ({ anyOf, ...options }),
  Unknown: (options?: Options) => ({ ...options }),
  Unsafe: (schema: Schema) => ({ ...schema }),
}

/**
 * Builds JSON Schemas with TypeBox's static types. A node does not load TypeBox itself, whose 709 modules took a fifth of the
 * processor time of its start.
 */
export const Type = builders as unknown as Pick<typeof TypeBox, keyof typeof builders>
