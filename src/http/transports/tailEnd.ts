import { AppError, CLOSE, type Close, type ErrorCode } from '../../protocol/errors.ts'

const CLOSES: Partial<Record<ErrorCode, Close>> = {
  session_erased: CLOSE.erased,
  history_changed: CLOSE.changed,
  history_damaged: CLOSE.damaged,
}

/** The error of a tail or feed that its reader receives; undefined for unexpected errors, which are logged. */
export const knownEnd = (error: unknown): AppError | undefined =>
  error instanceof AppError && error.code in CLOSES ? error : undefined

/** The close code and reason of a WebSocket whose tail ended with this error. */
export const closeOf = (error: AppError | undefined): Close => (error && CLOSES[error.code]) ?? CLOSE.internal
