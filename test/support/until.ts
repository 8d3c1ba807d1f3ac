import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 10
/** Many times what anything takes here, for machines that are many times slower or have other work. */
export const PATIENCE_MS = 90_000

/**
 * Waits for something that has no event to wait for, and answers what it came to. Past the deadline it fails, with
 * what was awaited in words.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = PATIENCE_MS,
): Promise<NonNullable<T>> {
  for (const deadline = Date.now() + timeoutMs; ; await sleep(POLL_MS)) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
  }
}

/** What the promise comes to, and how many milliseconds that took. */
export async function timed<T>(work: Promise<T>): Promise<{ value: T; ms: number }> {
  const started = performance.now()
  const value = await work
  return { value, ms: performance.now() - started }
}
