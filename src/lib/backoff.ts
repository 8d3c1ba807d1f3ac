/** Waits `ms`, or until the signal is aborted; never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}

/** The first pause is up to `baseMs`; the bound doubles with each further failure, up to `maxMs`. */
export interface BackoffBounds {
  readonly baseMs: number
  readonly maxMs: number
}

/** Exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): 0 to the doubled bound. */
export function jittered(attempt: number, baseMs: number, maxMs: number): number {
  return Math.random() * Math.min(maxMs, baseMs * 2 ** attempt)
}
