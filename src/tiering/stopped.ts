/** Thrown when the job is told to stop; whatever was done stays done, and the next run goes on from there. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError'
}
