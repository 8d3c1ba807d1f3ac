import type { ObjectStoreFault } from './objectStore.ts'

/** What the SDK's errors have in common: S3's code as the name, and the status, when there was an answer. */
interface S3Error extends NodeJS.ErrnoException {
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/** Statuses, and codes under other statuses, that pass: the server is busy, or our clock was corrected just now. */
const PASSING_STATUS = new Set([408, 409, 425, 429])
const PASSING_CODE = new Set(['RequestTimeout', 'RequestTimeTooSkewed', 'SlowDown', 'TooManyRequests'])

const statusOf = (error: unknown) => (error as S3Error | undefined)?.$metadata?.httpStatusCode

/** The condition did not hold: there is an object already. */
export const isPreconditionFailed = (error: unknown) => statusOf(error) === 412

/** The server does not know conditions on a PUT at all. */
export const isConditionUnknown = (error: unknown) => statusOf(error) === 501

/** As answered to a HEAD, which has no body to say more. */
export const isAbsent = (error: unknown) => statusOf(error) === 404

export const isDenied = (error: unknown) => explainS3Error(error) === 'denied'

/**
 * A 404 means that the object is missing only if S3 says so itself: one from a proxy, or for a bucket that is not there,
 * must not read as an object that was lost.
 */
export function explainS3Error(error: unknown): ObjectStoreFault | undefined {
  if (!(error instanceof Error)) return undefined
  const status = statusOf(error)
  if (error.name === 'NoSuchKey') return 'missing'
  if (error.name === 'CredentialsProviderError') return 'denied'
  // The object ends before the range begins.
  if (status === 416) return 'damaged'
  if (PASSING_CODE.has(error.name)) return 'unavailable'
  if (status !== undefined && status >= 300 && status < 500 && !PASSING_STATUS.has(status)) return 'denied'
  // 5xx, connections that break, answers that are cut or are not S3's.
  return 'unavailable'
}
