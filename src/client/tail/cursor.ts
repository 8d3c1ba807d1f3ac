/** The position after the last event that was seen. */
export interface Cursor {
  readonly seq: number
  /** The `inserted_at` of that event; undefined when unknown. */
  readonly insertedAt: string | undefined
}

/** The query of a cursor. With the time of the event the server checks that its log still has that event there. */
export const queryOf = ({ seq, insertedAt }: Cursor) => ({ cursor: seq, cursor_inserted_at: insertedAt })
