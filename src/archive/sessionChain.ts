import { ArchivedLine, LineError } from './archivedLine.ts'
import { type ChainVersion, genesisHash } from './chain.ts'
import { chainProblem } from './chainCheck.ts'
import { contentProblem } from './contentCheck.ts'
import type { EventHasher } from './eventHasher.ts'
import type { Problem } from './problem.ts'

const LINE_FEED = 0x0a

/** An event after which a chain continues: its hash, and the form of it (sql/chained_hash.sql). */
export interface ChainEnd {
  readonly seq: number
  /** Lower-case hex. */
  readonly hash: string
  readonly version: number
}

/** First and last seq. */
export type Range = readonly [first: number, last: number]

/** Called with the hash of every verified event. Returns what is wrong with it, if anything is. */
export type OnVerified = (seq: number, hash: string) => Problem | undefined

/** Verifies the chain of one session from its beginning, over archived lines as they come. */
export class SessionChain {
  readonly #line = new ArchivedLine()
  readonly #hasher: EventHasher
  readonly #sessionName: Buffer
  readonly #onVerified: OnVerified | undefined
  readonly #redacted: [number, number][] = []
  /** The seq of the next event. */
  next = 1
  /** The hash of the last verified event, in lower-case hex. */
  hash: string
  #version: ChainVersion = 1

  constructor(hasher: EventHasher, tenant: string, session: string, onVerified?: OnVerified) {
    this.#hasher = hasher
    this.#sessionName = Buffer.from(JSON.stringify(session).slice(1, -1))
    this.#onVerified = onVerified
    this.hash = genesisHash(tenant, session).toString('hex')
  }

  /** Continues after a known event, instead of at the session's beginning. */
  continueAfter({ seq, hash, version }: ChainEnd): void {
    this.next = seq + 1
    this.hash = hash
    this.#version = version as ChainVersion
  }

  /** The ranges of events without content, in order. */
  get redacted(): readonly Range[] {
    return this.#redacted
  }

  /** Adds lines, each with its line feed; may change those bytes. Returns what is wrong with the first wrong one. */
  add(text: Buffer): Problem | undefined {
    for (let start = 0; start < text.length; ) {
      const end = text.indexOf(LINE_FEED, start)
      const problem = this.#addLine(text, start, end === -1 ? text.length : end)
      if (problem !== undefined) return problem
      start = end === -1 ? text.length : end + 1
    }
    return undefined
  }

  #addLine(text: Buffer, start: number, end: number): Problem | undefined {
    try {
      return this.#verifyLine(text, start, end)
    } catch (error) {
      if (!(error instanceof LineError)) throw error
      return { seq: this.next, reason: 'changed', detail: error.message }
    }
  }

  #verifyLine(text: Buffer, start: number, end: number): Problem | undefined {
    const line = this.#line
    const seq = this.next
    line.read(text, start, end)
    if (line.seq !== seq) return this.#outOfOrder(line.seq)
    if (!text.subarray(line.sessionId.start, line.sessionId.end).equals(this.#sessionName))
      return { seq, reason: 'broken', detail: `it belongs to session ${line.text(line.sessionId)}` }
    const content = contentProblem(this.#hasher, line)
    if (content !== undefined) return { seq, reason: 'changed', detail: content }
    const form = chainProblem(this.#version, line)
    if (form !== undefined) return { seq, reason: 'broken', detail: form }
    const hash = this.#hasher.hashAfter(this.hash, line)
    if (hash !== line.digits(line.hash))
      return {
        seq,
        reason: 'broken',
        detail: 'its hash does not follow from the event before and its fields',
      }
    this.hash = hash
    this.#version = line.chainVersion
    this.next = seq + 1
    if (line.isRedacted) this.#noteRedacted(seq)
    return this.#onVerified?.(seq, hash)
  }

  #outOfOrder(found: number): Problem {
    return found > this.next
      ? { seq: this.next, reason: 'missing', detail: `${found} comes after ${this.next - 1}` }
      : { seq: found, reason: 'duplicate', detail: `the log has it again after ${this.next - 1}` }
  }

  #noteRedacted(seq: number): void {
    const last = this.#redacted.at(-1)
    if (last?.[1] === seq - 1) last[1] = seq
    else this.#redacted.push([seq, seq])
  }
}
