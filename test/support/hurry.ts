const REAL = globalThis.setTimeout
/** The client's time-outs are this long; its back-off is shorter. */
const LEAST_TIMEOUT_MS = 15_000
const OF_THE_CLIENT = /[\\/]src[\\/]client[\\/]/

/**
 * Waits of the client's back-off are over at once, until the call that comes back; time-outs are as long as ever. Timers
 * of others stay as they are: fetch counts its time-outs with one timer for the whole process, for as long as that lives.
 */
export function hurry(): () => void {
  const fast = (run: () => void, ms = 0) => {
    const hastens = ms < LEAST_TIMEOUT_MS && OF_THE_CLIENT.test(new Error().stack ?? '')
    return REAL(run, hastens ? 0 : ms)
  }
  globalThis.setTimeout = Object.assign(fast, REAL) as unknown as typeof setTimeout
  return () => {
    globalThis.setTimeout = REAL
  }
}
