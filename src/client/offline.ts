import { StarciteError } from './errors.ts'

/** The error itself; while the browser reports that it is offline, `offline` with the error as its cause. */
export function offlineErrorOr(error: StarciteError): StarciteError {
  const { navigator } = globalThis as { navigator?: { onLine?: boolean } }
  if (navigator?.onLine !== false || !error.retryable) return error
  return new StarciteError('offline', 'the browser is offline', { cause: error, retryable: true })
}
