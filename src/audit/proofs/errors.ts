/** The proof is not valid; the message says at which step. */
export class ProofError extends Error {
  override readonly name = 'ProofError'
}

export function expect(condition: unknown, otherwise: string): asserts condition {
  if (!condition) throw new ProofError(otherwise)
}
