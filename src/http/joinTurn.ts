import { LinkedAbort } from '../lib/linkedAbort.ts'
import { AppError } from '../protocol/errors.ts'
import type { Services } from './context.ts'

/** A join waits for its turn this many times STARCITE_STORAGE_TIMEOUT: by default as long as Phoenix's clients wait for a reply. */
const MAX_WAIT_TIMEOUTS = 2

/** Resolves with the function that ends the turn, or with undefined when the signal is aborted. Rejects with `overloaded` at the deadline. */
export async function takeJoinTurn(
  { config, joins }: Services,
  key: unknown,
  signal: AbortSignal,
): Promise<(() => void) | undefined> {
  const waiting = new LinkedAbort([signal], { ms: MAX_WAIT_TIMEOUTS * config.database.timeoutMs })
  const end = await joins.take(key, waiting.signal)
  waiting.release()
  if (end === undefined && !signal.aborted)
    throw new AppError('overloaded', 'the join waited too long in the queue; join again later', {
      retry_after_ms: 1000,
    })
  return end
}
