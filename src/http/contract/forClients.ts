import type { Form } from './components.ts'

type Schema = Readonly<Record<string, unknown>>

/**
 * Writes schemas as generators of clients need them: none forbids other members, because a later release may add members to
 * responses, which generated clients must accept.
 */
export const forClients: Form = (schema) => {
  const written = forTests(schema)
  const { additionalProperties, ...open } = written
  return additionalProperties === false ? open : written
}

/** Writes schemas as tests need them: responses have no members beyond those described. */
export const forTests: Form = (schema) => {
  // Without a format, generators for Java, Go and C# choose 32 bits.
  if (schema.type === 'integer') return { format: 'int64', maximum: Number.MAX_SAFE_INTEGER, ...schema }
  return isTextEnum(schema) ? { type: 'string', ...schema } : schema
}

const isTextEnum = ({ enum: values, type }: Schema): boolean =>
  type === undefined && Array.isArray(values) && values.every((it) => typeof it === 'string')
