import { AppError } from '../protocol/errors.ts'

/** A reader ahead of the log would miss what is appended next, so it is told. */
export function refuseAhead(at: number, lastSeq: number): void {
  if (at > lastSeq)
    throw new AppError('cursor_ahead', `cursor is ${at}, the session is at ${lastSeq}`, { last_seq: lastSeq })
}
