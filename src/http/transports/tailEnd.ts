import { AppError, CLOSE, type Close, type ErrorCode } from '../../protocol/errors.ts'

const CLOSES: Partial<Record<ErrorCode, Close>> = {
  session_erased: CLOSE.erased,
  history_changed: CLOSE.changed,
  history_damaged: CLOSE.damaged,
}

/** Why a tail or a feed ended, when its reader is told so; undefined: a fault of the node, to be logged. */
export const knownEnd = (error: unknown): AppError | undefined =>
  error instanceof AppError && error.code in CLOSES ? error : undefined

/** How a WebSocket is closed whose tail ended by this error. */
export const closeOf = (error: AppError | undefined): Close => (error && CLOSES[error.code]) ?? CLOSE.internal
