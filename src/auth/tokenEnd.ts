import { CLOSE, type Close } from '../protocol/errors.ts'
import type { Principal } from './principal.ts'

/** Timers do not follow a clock that is set forward, so the clock is read at least this often. */
const LONGEST_TIMER_MS = 10_000

/**
 * Calls `end` once, when the principal's token expires or its key is withdrawn, with the close code for a WebSocket. Returns a
 * function that cancels this.
 */
export function onTokenEnd(
  { expiresAtMs, withdrawn }: Principal,
  end: (close: Close) => void,
  longestTimerMs = LONGEST_TIMER_MS,
): () => void {
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    clearTimeout(timer)
    withdrawn?.removeEventListener('abort', onWithdrawn)
  }
  const finish = (close: Close) => {
    stop()
    end(close)
  }
  const onWithdrawn = () => finish(CLOSE.tokenInvalid)
  const watch = (at: number) => {
    // By the clock, not by the sum of the timers: the clock may have been set in between.
    const leftMs = at - Date.now()
    timer =
      leftMs <= 0
        ? setTimeout(() => finish(CLOSE.expired), 0)
        : setTimeout(
            () => (at <= Date.now() ? finish(CLOSE.expired) : watch(at)),
            Math.min(leftMs, longestTimerMs),
          )
  }
  if (withdrawn?.aborted) timer = setTimeout(onWithdrawn, 0)
  else {
    withdrawn?.addEventListener('abort', onWithdrawn, { once: true })
    if (expiresAtMs !== null) watch(expiresAtMs)
  }
  return stop
}
