import { AppError } from '../protocol/errors.ts'

/** A reader's position in the feed of its tenant. migrations/0006_session_changes.sql defines the two counters. */
export interface Cursor {
  readonly place: number
  /** The changes read so far. A gap in this number means that a change is missing. */
  readonly number: number
  /** When the entry there was recorded, in microseconds since 1970; undefined when unknown. Not part of the text. */
  readonly at?: number | undefined
}

const CURSOR = /^(\d{1,15})\.(\d{1,15})$/

export const renderCursor = ({ place, number }: Cursor): string => `${place}.${number}`

/** Parses a cursor. Throws invalid_cursor for a text that no feed can have sent; `field` names the parameter. */
export function parseCursor(text: string, field = 'cursor', at?: number): Cursor {
  const [, place, number] = CURSOR.exec(text) ?? []
  const cursor = { place: Number(place), number: Number(number), at }
  if (cursor.number <= cursor.place) return cursor
  throw new AppError('invalid_cursor', `${field} must be a cursor that came with an event of this feed`, {
    field,
  })
}
