/** A part of JSON text that Postgres cannot store exactly. */
export interface JsonProblem {
  readonly reason: string
}

/** Longer numbers fit neither Postgres's numeric nor most readers; `jsonb` would write 1e999999 out in full. */
export const MAX_NUMBER_CHARACTERS = 1000
export const MAX_EXPONENT_DIGITS = 3

export const JSON_PROBLEMS = {
  nul: { reason: 'it contains \\u0000, which Postgres text cannot hold' },
  loneSurrogate: { reason: 'it contains half of a surrogate pair, which is no Unicode text' },
  longNumber: { reason: `it contains a number of more than ${MAX_NUMBER_CHARACTERS} characters` },
  exponent: { reason: `it contains a number with an exponent beyond ${'9'.repeat(MAX_EXPONENT_DIGITS)}` },
} as const satisfies Record<string, JsonProblem>

/** The reason why a string cannot be stored exactly; undefined when it can. */
export function unstorableString(value: string): JsonProblem | undefined {
  if (value.includes('\0')) return { reason: 'it contains U+0000, which Postgres text cannot hold' }
  return value.isWellFormed() ? undefined : JSON_PROBLEMS.loneSurrogate
}
