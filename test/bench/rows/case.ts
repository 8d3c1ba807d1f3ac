import type { Sample } from '../load/httpLoad.ts'

/** Something to measure, again and again: once to warm up, and then in each round. */
export interface Case {
  readonly id: string
  readonly group: string
  readonly name: string
  readonly note?: string
  /** Starts what it needs, and tells whose CPU to watch meanwhile. */
  prepare(): Promise<Readonly<Record<string, number>>>
  run(seconds: number): Promise<Sample>
}

/** A line of the table. */
export interface Row {
  readonly id: string
  readonly group: string
  readonly name: string
  readonly unit: 'per second' | 'KB' | 'ms' | '×'
  readonly value: number
  /** Of a database's growth: without what is kept of each object for ever. */
  readonly withoutManifest?: number
  /** Milliseconds, over the answers or deliveries of all rounds. */
  readonly p50?: number
  readonly p99?: number
  /** The figure of each round; `value` is their median. */
  readonly rounds?: readonly number[]
  /** Microseconds of CPU for each item, by process. */
  readonly cpu?: Readonly<Record<string, number>>
  readonly note?: string
}
