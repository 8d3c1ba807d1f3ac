import { createHash } from 'node:crypto'
import { type ArchivedEvent, archiveLine } from '../../archive/line.ts'
import { packSlice } from '../../archive/slice.ts'

/** The session that an event belongs to. */
export interface Owner {
  readonly tenantId: string
  readonly sid: string
  readonly sessionId: string
}

export interface PackedSlice {
  readonly sid: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly offset: number
  readonly bytes: number
  readonly sha256: Buffer
  /** The hash of the slice's last event, in hexadecimal, and its form. */
  readonly lastHash: string
  readonly lastVersion: number
}

/** A slice before it is packed: its lines, each with its line feed, and for each event the stored hash and its form. */
export interface UncheckedSlice {
  readonly firstSeq: number
  readonly text: Buffer
  readonly hashes: readonly string[]
  readonly versions: readonly number[]
}

/**
 * Returns how many events of a slice may be packed, counted from its first. After fewer than all, the packer skips
 * the rest of the session.
 */
export type CheckSlice<T extends Owner> = (owner: T, slice: UncheckedSlice) => number | Promise<number>

/** An object that is ready to be stored. */
export interface PackedObject {
  readonly tenantId: string
  readonly body: Buffer
  readonly sha256: Buffer
  readonly events: number
  readonly slices: readonly PackedSlice[]
}

export interface PackerBounds {
  /** A slice is the unit that a reader fetches and caches. */
  readonly sliceEvents: number
  readonly sliceCharacters: number
  /** An object is closed once it has this much. */
  readonly objectBytes: number
}

/** A slice of half a megabyte is some 60 KB compressed: one quick Range GET, and a page or two for a tail. */
export const PACKER_BOUNDS: PackerBounds = {
  sliceEvents: 2000,
  sliceCharacters: 512 * 1024,
  objectBytes: 8 * 1024 * 1024,
}

/** Slices that are compressed at once. Node has four threads for it, and each slice holds its text and its result. */
const MAX_COMPRESSING = 4

interface OpenSlice<T> {
  readonly owner: T
  readonly firstSeq: number
  lines: string[]
  hashes: string[]
  versions: number[]
  characters: number
}

interface ClosedSlice<T> {
  readonly owner: T
  readonly firstSeq: number
  readonly lastSeq: number
  readonly lastHash: string
  readonly lastVersion: number
}

const LINE_FEED = 0x0a

/**
 * Packs a stream of events, ordered by tenant, session and seq, into objects. An object belongs to one tenant; a
 * slice is a gapless run of one session. The output depends only on the events and on where the stream begins, so a
 * repeated run produces the same objects under the same names.
 */
export class Packer<T extends Owner = Owner> {
  readonly #bounds: PackerBounds
  readonly #emit: (object: PackedObject) => Promise<void>
  readonly #check: CheckSlice<T>
  #tenantId: string | undefined
  #slice: OpenSlice<T> | undefined
  /** The session whose remaining events are not packed. */
  #damagedSid: string | undefined
  #compressing: { slice: ClosedSlice<T>; member: Promise<Buffer> }[] = []
  #members: { slice: ClosedSlice<T>; member: Buffer }[] = []
  #bytes = 0

  /** `emit` takes an object, and resolves when the packer may continue with the next. */
  constructor(
    emit: (object: PackedObject) => Promise<void>,
    bounds: PackerBounds = PACKER_BOUNDS,
    check: CheckSlice<T> = (_, { hashes }) => hashes.length,
  ) {
    this.#emit = emit
    this.#bounds = bounds
    this.#check = check
  }

  /** Returns a promise when the caller has to wait before it adds the next event. */
  add(owner: T, event: ArchivedEvent): Promise<void> | undefined {
    if (owner.sid === this.#damagedSid) return undefined
    const line = archiveLine(owner.sessionId, event)
    if (this.#slice && this.#fits(this.#slice, owner, event.rendered.seq, line)) {
      put(this.#slice, event, line)
      return undefined
    }
    return this.#begin(owner, event, line)
  }

  /** Closes the open object, if there is one. */
  async finish(): Promise<void> {
    await this.#endSlice()
    await this.#collect(0)
    await this.#endObject()
  }

  async #begin(owner: T, event: ArchivedEvent, line: string): Promise<void> {
    await this.#endSlice()
    if (owner.sid === this.#damagedSid) return
    if (owner.tenantId !== this.#tenantId) {
      await this.finish()
      this.#tenantId = owner.tenantId
    }
    this.#slice = { owner, firstSeq: event.rendered.seq, lines: [], hashes: [], versions: [], characters: 0 }
    put(this.#slice, event, line)
  }

  #fits(slice: OpenSlice<T>, owner: T, seq: number, line: string): boolean {
    return (
      slice.owner.sid === owner.sid &&
      slice.firstSeq + slice.lines.length === seq &&
      slice.lines.length < this.#bounds.sliceEvents &&
      slice.characters + line.length <= this.#bounds.sliceCharacters
    )
  }

  async #endSlice(): Promise<void> {
    const slice = this.#slice
    if (slice === undefined) return
    this.#slice = undefined
    const { owner, firstSeq, hashes, versions } = slice
    const text = Buffer.from(slice.lines.join(''))
    slice.lines = []
    const packed = await this.#check(owner, { firstSeq, text, hashes, versions })
    if (packed < hashes.length) this.#damagedSid = owner.sid
    if (packed === 0) return
    const member = packSlice(packed < hashes.length ? text.subarray(0, endOfLine(text, packed)) : text)
    member.catch(() => {}) // awaited in #collect
    const closed = {
      owner,
      firstSeq,
      lastSeq: firstSeq + packed - 1,
      lastHash: hashes[packed - 1] as string,
      lastVersion: versions[packed - 1] as number,
    }
    this.#compressing.push({ slice: closed, member })
    await this.#collect(MAX_COMPRESSING - 1)
  }

  /** Takes finished slices, in order, until at most `left` are being compressed; closes objects that are full. */
  async #collect(left: number): Promise<void> {
    while (this.#compressing.length > left) {
      const { slice, member } = this.#compressing.shift() as {
        slice: ClosedSlice<T>
        member: Promise<Buffer>
      }
      const bytes = await member
      this.#members.push({ slice, member: bytes })
      this.#bytes += bytes.length
      if (this.#bytes >= this.#bounds.objectBytes) await this.#endObject()
    }
  }

  async #endObject(): Promise<void> {
    if (this.#members.length === 0) return
    const members = this.#members
    this.#members = []
    this.#bytes = 0
    let offset = 0
    const slices = members.map(({ slice, member }): PackedSlice => {
      const { firstSeq, lastSeq, lastHash, lastVersion, owner } = slice
      const packed = {
        sid: owner.sid,
        firstSeq,
        lastSeq,
        offset,
        bytes: member.length,
        sha256: sha256(member),
        lastHash,
        lastVersion,
      }
      offset += member.length
      return packed
    })
    const body = Buffer.concat(members.map(({ member }) => member))
    await this.#emit({
      tenantId: this.#tenantId as string,
      body,
      sha256: sha256(body),
      events: slices.reduce((sum, slice) => sum + slice.lastSeq - slice.firstSeq + 1, 0),
      slices,
    })
  }
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()

function put(slice: OpenSlice<unknown>, event: ArchivedEvent, line: string): void {
  slice.lines.push(line)
  slice.hashes.push(event.hash)
  slice.versions.push(event.chainVersion)
  slice.characters += line.length
}

/** The offset after the n-th line, with its line feed. */
function endOfLine(text: Buffer, n: number): number {
  let end = 0
  for (let line = 0; line < n; line += 1) end = text.indexOf(LINE_FEED, end) + 1
  return end
}
