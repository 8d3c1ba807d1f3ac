import { CLOSE, type Close } from '../protocol/errors.ts'
import type { Principal } from './principal.ts'

/** Timers do not follow the clock when it is set forward, so it is looked at as often. */
const LONGEST_TIMER_MS = 10_000

/**
 * Calls `end` once, when the principal's token expires or its key is withdrawn, with how a WebSocket is then to be
 * closed. Answers how to stop waiting for that.
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
    // By the clock, not by the sum of the timers: the clock may have been set meanwhile.
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
