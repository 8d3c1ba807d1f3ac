import type { Cursor, Selected } from '../read/selection.ts'

/** How events are written. */
export interface Format {
  readonly name: 'ndjson' | 'csv'
  /** What stands at the beginning; empty when nothing does. */
  readonly head: string
  /** One event, with the end of its record. */
  render(event: Selected): Buffer
  /** Where the last whole record of a file ends and which event it is; what is behind it was cut. */
  findEnd(file: ReadableFile): Promise<End>
}

export interface ReadableFile {
  readonly bytes: number
  read(offset: number, length: number): Promise<Buffer>
}

export interface End {
  readonly offset: number
  /** Undefined when there is no whole record. */
  readonly cursor: Cursor | undefined
}

/** A file that is to be gone on with is no export in this format. */
export class ForeignFileError extends Error {
  override readonly name = 'ForeignFileError'
}
