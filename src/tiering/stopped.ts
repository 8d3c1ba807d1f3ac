/** Thrown when the job is stopped. Completed steps stay completed, and the next run continues from there. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError'
}
