/** The last event that was seen. */
export interface Cursor {
  readonly seq: number
  /** As the event shows it; undefined when it is not known. */
  readonly insertedAt: string | undefined
}

/** With the time of the event the server checks that its log still has that event there. */
export const queryOf = ({ seq, insertedAt }: Cursor) => ({ cursor: seq, cursor_inserted_at: insertedAt })
