/** A request of the runner to a worker. A worker that gets `end` closes what its tests shared. */
export type Order = { readonly run: string; readonly module: string } | { readonly end: true }

export interface TestFigures {
  readonly title: string
  readonly ms: number
}

/** What became of one file. */
export interface FileResult {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly ms: number
  /** Processor time of the worker and of the children that ended meanwhile; not that of shared servers. */
  readonly cpuMs: number
  readonly slowest: readonly TestFigures[]
}

/** One file that was run. Without `result` its worker ended before the file did. */
export interface FileRun {
  readonly file: string
  readonly output: string
  readonly result: FileResult | undefined
}

/** Starts the line in which a worker reports a result, after all that the file has printed. */
export const RESULT = '\u0001result '
