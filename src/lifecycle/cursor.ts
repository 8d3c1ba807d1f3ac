import { AppError } from '../protocol/errors.ts'

/** How far a reader is in the feed of its tenant; migrations/0006_session_changes.sql says what the two count. */
export interface Cursor {
  readonly place: number
  /** Changes read so far: what tells a reader that none was missing. */
  readonly number: number
  /** When what stands there was recorded, in microseconds since 1970: not in the text. Undefined: not known. */
  readonly at?: number | undefined
}

const CURSOR = /^(\d{1,15})\.(\d{1,15})$/

export const renderCursor = ({ place, number }: Cursor): string => `${place}.${number}`

/** Throws invalid_cursor when no feed can have handed that out; `field` is where it was. */
export function parseCursor(text: string, field = 'cursor', at?: number): Cursor {
  const [, place, number] = CURSOR.exec(text) ?? []
  const cursor = { place: Number(place), number: Number(number), at }
  if (cursor.number <= cursor.place) return cursor
  throw new AppError('invalid_cursor', `${field} must be a cursor that came with an event of this feed`, {
    field,
  })
}
