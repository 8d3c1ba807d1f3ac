/** Which part of the logs is read. Times are RFC 3339; what is not given excludes nothing. */
export interface Scope {
  /** Absent: every tenant. */
  readonly tenant?: string
  readonly session?: string
  /** Inclusive. */
  readonly from?: string
  /** Exclusive. */
  readonly to?: string
}

/** A session as it was when the reading of it began. */
export interface SessionHead {
  readonly sid: string
  readonly tenant: string
  readonly session: string
  readonly lastSeq: number
  /** Lower-case hex; null when the session has no head, which every session has. */
  readonly headHash: string | null
  /** What the receipt of its erasure says that its chain ends with; null when it is not erased. */
  readonly erasedHash: string | null
  /** The last seq that lies in objects; 0 when all is in Postgres. */
  readonly coldUntil: number
  /** What is to be read of it: 1 to lastSeq, or less when the scope has times. */
  readonly fromSeq: number
  readonly toSeq: number
}

/** A stretch of a session in an object. */
export interface ColdSlice {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly offset: number
  readonly bytes: number
  /** Lower-case hex, of the slice. */
  readonly sha256: string
  readonly object: ColdObject
  /** Ranges of seq whose content is not to be shown any more, though the object still has it. */
  readonly hidden: readonly (readonly [number, number])[]
}

export interface ColdObject {
  readonly id: string
  readonly key: string
  readonly bytes: number
  readonly sha256: string
  readonly segment: string
}
