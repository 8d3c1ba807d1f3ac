import type { ObjectStoreFault } from './objectStore.ts'

/** The common part of the SDK's errors: S3's code as the name, and the status when there was a response. */
interface S3Error extends NodeJS.ErrnoException {
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/** Statuses, and codes under other statuses, that pass: the server is busy, or this host's clock was just corrected. */
const PASSING_STATUS = new Set([408, 409, 425, 429])
const PASSING_CODE = new Set(['RequestTimeout', 'RequestTimeTooSkewed', 'SlowDown', 'TooManyRequests'])

const statusOf = (error: unknown) => (error as S3Error | undefined)?.$metadata?.httpStatusCode

/** The condition failed: an object exists already. */
export const isPreconditionFailed = (error: unknown) => statusOf(error) === 412

/** The server does not support conditions on a PUT. */
export const isConditionUnknown = (error: unknown) => statusOf(error) === 501

/** The response to a HEAD, which has no body with details. */
export const isAbsent = (error: unknown) => statusOf(error) === 404

export const isDenied = (error: unknown) => explainS3Error(error) === 'denied'

/**
 * A 404 means that the object is missing only when S3 itself reports it: one from a proxy, or for a bucket that does not
 * exist, must not look like a lost object.
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
  // 5xx, broken connections, responses that are cut or are not S3's.
  return 'unavailable'
}
