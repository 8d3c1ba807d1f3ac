import type { Form } from './components.ts'

type Schema = Readonly<Record<string, unknown>>

/**
 * Schemas as generators of clients need them. Answers may gain members in a later release, and what was generated must not
 * refuse one: no schema forbids other members.
 */
export const forClients: Form = (schema) => {
  const written = forTests(schema)
  const { additionalProperties, ...open } = written
  return additionalProperties === false ? open : written
}

/** The same, except that answers have no member beyond those described. Tests hold the node to that. */
export const forTests: Form = (schema) => {
  // Without a width, generators for Java, Go and C# take 32 bits.
  if (schema.type === 'integer') return { format: 'int64', maximum: Number.MAX_SAFE_INTEGER, ...schema }
  return isTextEnum(schema) ? { type: 'string', ...schema } : schema
}

const isTextEnum = ({ enum: values, type }: Schema): boolean =>
  type === undefined && Array.isArray(values) && values.every((it) => typeof it === 'string')
