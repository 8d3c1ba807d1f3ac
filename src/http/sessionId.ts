import { AppError } from '../protocol/errors.ts'

const MAX_ID_BYTES = 256
// biome-ignore lint/suspicious/noControlCharactersInRegex: it matches control characters on purpose
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

/** The reason why a text cannot be a session id; undefined when it can. */
export function badSessionId(id: string): string | undefined {
  const bytes = Buffer.byteLength(id)
  if (bytes < 1 || bytes > MAX_ID_BYTES) return `must be 1 to ${MAX_ID_BYTES} bytes`
  if (CONTROL.test(id)) return 'must not contain control characters'
  return id.isWellFormed() ? undefined : 'must be valid Unicode'
}

/** The reason why a text cannot be the id of a new session. Older sessions may have the ids `.` and `..`, which URLs cannot name. */
export const badNewSessionId = (id: string): string | undefined =>
  badSessionId(id) ??
  (id === '.' || id === '..' ? `must not be ${id}, which URLs resolve to another path` : undefined)

/** Returns a text that can be a session id. Throws session_not_found for others, without a query. */
export function existingSessionId(text: string): string {
  if (badSessionId(text) === undefined) return text
  throw new AppError(
    'session_not_found',
    `there is no session ${JSON.stringify(text.slice(0, MAX_ID_BYTES))}`,
  )
}
