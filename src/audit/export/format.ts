import type { Cursor, Selected } from '../read/selection.ts'

/** A format of exports. */
export interface Format {
  readonly name: 'ndjson' | 'csv'
  /** The text at the beginning of a file; empty when there is none. */
  readonly head: string
  /** One event, with the end of its record. */
  render(event: Selected): Buffer
  /** Finds where the last whole record of a file ends and which event it is; what follows was cut. */
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

/** A file that is to be resumed is not an export in this format. */
export class ForeignFileError extends Error {
  override readonly name = 'ForeignFileError'
}
