import { ArchivedLine } from '../../archive/archivedLine.ts'
import type { ChainVersion } from '../../archive/chain.ts'
import { chainProblem } from '../../archive/chainCheck.ts'
import { contentProblem } from '../../archive/contentCheck.ts'
import type { EventHasher } from '../../archive/eventHasher.ts'
import type { Problem } from '../../archive/problem.ts'
import type { KnownHashes } from './knownHashes.ts'

const LINE_FEED = 0x0a

/**
 * Consecutive events of one session that follow from one another. Whether the first follows from its predecessor is
 * checked later.
 */
export interface Run {
  firstSeq: number
  lastSeq: number
  /** eventLink of the first event. */
  readonly firstLink: Buffer
  /** Lower-case hex. */
  readonly firstHash: string
  readonly firstVersion: ChainVersion
  /** Lower-case hex. */
  lastHash: string
  lastVersion: ChainVersion
}

export interface RunsOptions {
  readonly hasher: EventHasher
  readonly tenant: string
  readonly kept: KnownHashes | undefined
  /** The only session to verify; undefined: every session. */
  readonly session: string | undefined
  readonly onProblem: (session: string, problem: Problem) => void
}

/** Splits the lines of an object into runs, and verifies all that can be verified without the events before. */
export class Runs {
  readonly #options: RunsOptions
  readonly #line = new ArchivedLine()
  readonly bySession = new Map<string, Run[]>()
  events = 0
  redacted = 0
  /** The session of the last line. */
  session: string | undefined
  seq = 0
  #name = Buffer.alloc(0)
  #run: Run | undefined
  #kept: ReadonlyMap<number, string> | undefined

  constructor(options: RunsOptions) {
    this.#options = options
  }

  /** Adds whole lines. Throws a LineError. */
  add(text: Buffer): void {
    for (let start = 0; start < text.length; ) {
      const end = text.indexOf(LINE_FEED, start)
      this.#line.read(text, start, end)
      this.#addLine(this.#line)
      start = end + 1
    }
  }

  /** The next lines belong to another object. */
  endObject(): void {
    this.#run = undefined
    this.session = undefined
    this.#name = Buffer.alloc(0)
  }

  #addLine(line: ArchivedLine): void {
    this.#follow(line)
    const { session, seq } = this
    const only = this.#options.session
    if (session === undefined || (only !== undefined && session !== only)) return
    this.events += 1
    if (line.isRedacted) this.redacted += 1
    const problem = this.#problemOf(line, seq)
    if (problem !== undefined) {
      this.#options.onProblem(session, problem)
      this.#run = undefined
    }
    this.#extend(session, seq, line)
  }

  /** Updates the current session from the line. */
  #follow(line: ArchivedLine): void {
    const { start, end } = line.sessionId
    this.seq = line.seq
    if (this.session !== undefined && this.#name.equals(line.bytes.subarray(start, end))) return
    this.#run = undefined
    this.#name = Buffer.from(line.bytes.subarray(start, end))
    this.session = line.text(line.sessionId) as string
    this.#kept = this.#options.kept?.of(this.#options.tenant, this.session)
  }

  #problemOf(line: ArchivedLine, seq: number): Problem | undefined {
    const { hasher } = this.#options
    const content = contentProblem(hasher, line)
    if (content !== undefined) return { seq, reason: 'changed', detail: content }
    const run = this.#run?.lastSeq === seq - 1 ? this.#run : undefined
    const form = chainProblem(run?.lastVersion ?? 1, line)
    if (form !== undefined) return { seq, reason: 'broken', detail: form }
    if (run) {
      const hash = hasher.hashAfter(run.lastHash, line)
      if (hash !== line.digits(line.hash))
        return {
          seq,
          reason: 'broken',
          detail: 'its hash does not follow from the event before and its fields',
        }
    }
    const kept = this.#kept?.get(seq)
    if (kept !== undefined && kept !== line.raw(line.hash))
      return { seq, reason: 'checkpoint', detail: `the known hash of it is ${kept}` }
    return undefined
  }

  #extend(session: string, seq: number, line: ArchivedLine): void {
    const hash = line.digits(line.hash)
    if (this.#run && this.#run.lastSeq + 1 === seq) {
      this.#run.lastSeq = seq
      this.#run.lastHash = hash
      this.#run.lastVersion = line.chainVersion
      return
    }
    const firstLink = this.#options.hasher.link(line)
    this.#run = {
      ...{ firstSeq: seq, firstLink, firstHash: hash, firstVersion: line.chainVersion },
      ...{ lastSeq: seq, lastHash: hash, lastVersion: line.chainVersion },
    }
    const runs = this.bySession.get(session)
    if (runs) runs.push(this.#run)
    else this.bySession.set(session, [this.#run])
  }
}
