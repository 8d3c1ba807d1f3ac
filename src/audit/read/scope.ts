/** The part of the logs that is read. Times are RFC 3339; an absent member excludes nothing. */
export interface Scope {
  /** Absent: every tenant. */
  readonly tenant?: string
  readonly session?: string
  /** Inclusive. */
  readonly from?: string
  /** Exclusive. */
  readonly to?: string
}

/** A session as it was when reading began. */
export interface SessionHead {
  readonly sid: string
  readonly tenant: string
  readonly session: string
  readonly lastSeq: number
  /** Lower-case hex; null when the session has lost its head. */
  readonly headHash: string | null
  /** The last hash of the chain by the receipt of the session's erasure; null when the session is not erased. */
  readonly erasedHash: string | null
  /** The last seq that is in objects; 0 when all events are in Postgres. */
  readonly coldUntil: number
  /** The range to read: 1 to lastSeq, or less when the scope has times. */
  readonly fromSeq: number
  readonly toSeq: number
}

/** A contiguous run of a session's events in an object. */
export interface ColdSlice {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly offset: number
  readonly bytes: number
  /** Digest of the slice, in lower-case hex. */
  readonly sha256: string
  readonly object: ColdObject
  /** Ranges of seq whose content must not be shown any more, although the object still has it. */
  readonly hidden: readonly (readonly [number, number])[]
}

export interface ColdObject {
  readonly id: string
  readonly key: string
  readonly bytes: number
  readonly sha256: string
  readonly segment: string
}
