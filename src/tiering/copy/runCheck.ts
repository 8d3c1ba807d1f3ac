import { createHash } from 'node:crypto'
import type { FollowChain } from '../../archive/followChain.ts'
import type { Problem } from '../../archive/problem.ts'
import type { ChainEnd, SessionChain } from '../../archive/sessionChain.ts'
import { openSlice } from '../../archive/slice.ts'
import type { DbSession } from '../../db/session.ts'
import { type ObjectStore, ObjectStoreError } from '../../objects/objectStore.ts'
import type { UncheckedSlice } from './packer.ts'
import * as queries from './queries.ts'

export interface RunCheckOptions {
  readonly session: DbSession
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly follow: FollowChain
  /** Called with the first damage of a session. Nothing more of that session is to be checked then. */
  readonly onDamage: (run: queries.Run, damage: Problem) => unknown
}

const LINE_FEED = 0x0a
/** Lines with this member have line feeds to restore, for which the chain changes their bytes. */
const LINE_FEEDS = Buffer.from('"line_feeds":[')

interface LastLine {
  readonly hash: string
  readonly chain_version?: number
}

/**
 * Recomputes digests and hash chains of runs, slice by slice, before they are packed. Each event must follow from the
 * one before it, in Postgres or in an object, and the session's last event must be the one of its head.
 */
export class RunCheck {
  readonly #options: RunCheckOptions
  #sid: string | undefined
  #chain: SessionChain | undefined

  constructor(options: RunCheckOptions) {
    this.#options = options
  }

  /** Returns how many of the slice's events are valid, counted from its first. Slices of one session come in order. */
  async check(run: queries.Run, slice: UncheckedSlice): Promise<number> {
    const damage = await this.#damageOf(run, slice)
    if (damage === undefined) return slice.hashes.length
    await this.#options.onDamage(run, damage)
    return Math.max(0, damage.seq - slice.firstSeq)
  }

  async #damageOf(run: queries.Run, slice: UncheckedSlice): Promise<Problem | undefined> {
    const { firstSeq, text, hashes, versions } = slice
    const lastSeq = firstSeq + hashes.length - 1
    let from = 0
    if (firstSeq <= run.givenUpThrough) {
      const before = this.#sid === run.sid ? (this.#chain?.next ?? 1) - 1 : run.before.lastSeq
      if (firstSeq <= before)
        return { seq: firstSeq, reason: 'duplicate', detail: 'the event is already in an object' }
      const unverified = Math.min(lastSeq, run.givenUpThrough) - firstSeq + 1
      for (let line = 0; line < unverified; line += 1) from = text.indexOf(LINE_FEED, from) + 1
      this.#follow(run, {
        seq: firstSeq + unverified - 1,
        hash: hashes[unverified - 1] as string,
        version: versions[unverified - 1] as number,
      })
      if (unverified === hashes.length) return undefined
    } else if (this.#sid !== run.sid) {
      const problem = await this.#begin(run)
      if (problem !== undefined) return { seq: firstSeq, reason: 'broken', detail: problem }
    }
    const chain = this.#chain as SessionChain
    const lines = text.subarray(from)
    const wrong = chain.add(lines.includes(LINE_FEEDS) ? Buffer.from(lines) : lines)
    const unlawful = await this.#unlawfullyRedacted(run, chain, firstSeq)
    if (unlawful !== undefined && !(wrong && wrong.seq < unlawful.seq)) return unlawful
    return wrong ?? headDamage(run, lastSeq, hashes)
  }

  /** Returns why the event before the run cannot be read. */
  async #begin(run: queries.Run): Promise<string | undefined> {
    const { lastSeq, hash, version } = run.before
    if (lastSeq === 0) {
      this.#follow(run)
      return undefined
    }
    const end = hash === null ? await this.#endInObject(run) : { seq: lastSeq, hash, version }
    if (end instanceof Error) return `the event before it, ${lastSeq}, cannot be read: ${end.message}`
    this.#follow(run, end)
    return undefined
  }

  #follow(run: queries.Run, after?: ChainEnd): void {
    this.#sid = run.sid
    this.#chain = this.#options.follow(run, after)
  }

  /** Reads the chain's end from the slice of the last cold event, which an older release has moved. */
  async #endInObject({ sid, before }: queries.Run): Promise<ChainEnd | Error> {
    const { session, store, signal } = this.#options
    const location = await queries.locationOf(session, sid, before.lastSeq)
    if (location === undefined) return new Error('no object has it')
    const { key, offset, bytes, sha256 } = location
    try {
      const member = await store.getRange(key, offset, bytes, signal)
      if (createHash('sha256').update(member).digest('hex') !== sha256)
        return new Error(`the bytes of object ${key} at ${offset} are not those that were written`)
      const lines = (await openSlice(member)).toString('utf8').trimEnd()
      const last = JSON.parse(lines.slice(lines.lastIndexOf('\n') + 1)) as LastLine
      return { seq: before.lastSeq, hash: last.hash, version: last.chain_version ?? 1 }
    } catch (error) {
      if (error instanceof ObjectStoreError && (error.kind === 'missing' || error.kind === 'damaged'))
        return error
      throw error
    }
  }

  /** Finds content that is gone although no erasure covers it. */
  async #unlawfullyRedacted(
    { sid }: queries.Run,
    { redacted }: SessionChain,
    firstSeq: number,
  ): Promise<Problem | undefined> {
    const met = redacted.filter(([, last]) => last >= firstSeq)
    if (met.length === 0) return undefined
    const covered = await queries.erasedRanges(this.#options.session, sid)
    for (const [first, last] of met) {
      let seq = Math.max(first, firstSeq)
      // The ranges are ordered by their first seq, so one pass finds all that they cover.
      for (const [from, to] of covered) if (from <= seq && to >= seq) seq = to + 1
      if (seq <= last)
        return { seq, reason: 'changed', detail: 'its content is gone, and no erasure covers it' }
    }
    return undefined
  }
}

function headDamage({ head }: queries.Run, lastSeq: number, hashes: readonly string[]): Problem | undefined {
  const firstSeq = lastSeq - hashes.length + 1
  if (head === undefined) return { seq: firstSeq, reason: 'head', detail: 'the session has no head' }
  if (head.lastSeq < lastSeq)
    return {
      seq: Math.max(firstSeq, head.lastSeq + 1),
      reason: 'head',
      detail: `the head is at ${head.lastSeq}, and there is an event ${lastSeq}`,
    }
  const hash = hashes.at(-1)
  if (head.lastSeq === lastSeq && head.hash !== hash)
    return {
      seq: lastSeq,
      reason: 'head',
      detail: `the head has the hash ${head.hash}, and the chain ends with ${hash}`,
    }
  return undefined
}
