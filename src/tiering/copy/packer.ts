import { createHash } from 'node:crypto'
import { type ArchivedEvent, archiveLine, packSlice } from '../slice.ts'

/** Whose event it is. */
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
}

/** An object that is ready to be stored. */
export interface PackedObject {
  readonly tenantId: string
  readonly body: Buffer
  readonly sha256: Buffer
  readonly events: number
  readonly slices: readonly PackedSlice[]
}

export interface PackerBounds {
  /** A slice is what a reader fetches and keeps at a time. */
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

/** Slices being compressed at once: Node has four threads for it, and each holds its text and its result. */
const MAX_COMPRESSING = 4

interface OpenSlice {
  readonly owner: Owner
  readonly firstSeq: number
  lastSeq: number
  lines: string[]
  characters: number
}

/**
 * Packs a stream of events, ordered by tenant, session and seq, into objects: each of one tenant, each slice a run of one
 * session. What comes out depends on nothing but the events and where the stream begins, so doing it again gives the
 * same objects under the same names.
 */
export class Packer {
  readonly #bounds: PackerBounds
  readonly #emit: (object: PackedObject) => Promise<void>
  #tenantId: string | undefined
  #slice: OpenSlice | undefined
  #last: { readonly sid: string; readonly seq: number } | undefined
  #compressing: { slice: OpenSlice; member: Promise<Buffer> }[] = []
  #members: { slice: OpenSlice; member: Buffer }[] = []
  #bytes = 0

  /** `emit` takes an object, and resolves when the packer may go on to the next. */
  constructor(emit: (object: PackedObject) => Promise<void>, bounds: PackerBounds = PACKER_BOUNDS) {
    this.#emit = emit
    this.#bounds = bounds
  }

  /** A promise when there is something to wait for before the next one. */
  add(owner: Owner, event: ArchivedEvent): Promise<void> | undefined {
    this.#refuseHole(owner, event.frame.seq)
    const line = archiveLine(owner.sessionId, event)
    if (this.#slice && this.#fits(this.#slice, owner, line)) {
      this.#put(this.#slice, event.frame.seq, line)
      return undefined
    }
    return this.#begin(owner, event.frame.seq, line)
  }

  /** Closes the object at hand, if there is one. */
  async finish(): Promise<void> {
    await this.#endSlice()
    await this.#collect(0)
    await this.#endObject()
  }

  #refuseHole({ sid }: Owner, seq: number): void {
    if (this.#last?.sid === sid && this.#last.seq + 1 !== seq)
      throw new Error(`event ${this.#last.seq + 1} of session ${sid} is missing before ${seq}`)
    this.#last = { sid, seq }
  }

  async #begin(owner: Owner, seq: number, line: string): Promise<void> {
    await this.#endSlice()
    if (owner.tenantId !== this.#tenantId) {
      await this.finish()
      this.#tenantId = owner.tenantId
    }
    this.#slice = { owner, firstSeq: seq, lastSeq: seq, lines: [], characters: 0 }
    this.#put(this.#slice, seq, line)
  }

  #put(slice: OpenSlice, seq: number, line: string): void {
    slice.lines.push(line)
    slice.characters += line.length
    slice.lastSeq = seq
  }

  #fits(slice: OpenSlice, owner: Owner, line: string): boolean {
    return (
      slice.owner.sid === owner.sid &&
      slice.lines.length < this.#bounds.sliceEvents &&
      slice.characters + line.length <= this.#bounds.sliceCharacters
    )
  }

  async #endSlice(): Promise<void> {
    const slice = this.#slice
    if (slice === undefined) return
    this.#slice = undefined
    const member = packSlice(slice.lines.join(''))
    member.catch(() => {}) // awaited in turn
    slice.lines = []
    this.#compressing.push({ slice, member })
    await this.#collect(MAX_COMPRESSING - 1)
  }

  /** Takes finished slices, in order, until at most `left` are being compressed; closes objects that are full. */
  async #collect(left: number): Promise<void> {
    while (this.#compressing.length > left) {
      const { slice, member } = this.#compressing.shift() as { slice: OpenSlice; member: Promise<Buffer> }
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
      const { firstSeq, lastSeq, owner } = slice
      const packed = {
        sid: owner.sid,
        firstSeq,
        lastSeq,
        offset,
        bytes: member.length,
        sha256: sha256(member),
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
