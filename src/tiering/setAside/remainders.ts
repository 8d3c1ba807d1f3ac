import type { FollowChain } from '../../archive/followChain.ts'
import { archiveLine } from '../../archive/line.ts'
import type { Problem } from '../../archive/problem.ts'
import type { DbSession } from '../../db/session.ts'
import type { ObjectStore } from '../../objects/objectStore.ts'
import type { Log } from '../../ops/log.ts'
import { ObjectWriter } from '../copy/objectWriter.ts'
import { PACKER_BOUNDS, type PackedObject, Packer } from '../copy/packer.ts'
import { portions, remainder } from '../copy/portions.ts'
import * as copying from '../copy/queries.ts'
import { RunCheck } from '../copy/runCheck.ts'
import { attachment } from '../queries.ts'
import type { Probe } from '../step.ts'
import { StoppedError } from '../stopped.ts'
import * as queries from './queries.ts'

export interface RemaindersOptions {
  /** Holds the job's lock, so no segment is closed meanwhile. */
  readonly session: DbSession
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly follow: FollowChain
  readonly log: Log
  readonly probe?: Probe
  /** How many sessions a pass checks; the next pass checks those that have gone longest without a check. */
  readonly sessionsPerPass?: number
}

export interface RemaindersResult {
  /** Segments that keep nothing any more. */
  readonly empty: readonly string[]
  readonly hasMoved: boolean
  /** The first failure; the other sessions were processed all the same. */
  readonly failure: { readonly cause: unknown } | undefined
}

const SESSIONS_PER_PASS = 200
const MAX_READ_BYTES = 8 * 1024 * 1024

/**
 * Moves what segments have kept of sessions that were set aside, once their damage is repaired or they are given up.
 * It moves object by object, from the oldest segment on, so that the cold part of a session stays a prefix of its
 * log.
 */
export class Remainders {
  readonly #options: RemaindersOptions

  #hasMoved = false

  constructor(options: RemaindersOptions) {
    this.#options = options
  }

  async run(): Promise<RemaindersResult> {
    const { session, signal, sessionsPerPass = SESSIONS_PER_PASS } = this.#options
    const open = await queries.openSetAside(session, sessionsPerPass)
    const kept = await queries.segmentsWithRemainders(session)
    const attached: string[] = []
    for (const segment of kept)
      if ((await attachment(session, segment)) === 'attached') {
        await queries.letRepairsPass(session, segment)
        attached.push(segment)
      }
    let failure: { readonly cause: unknown } | undefined
    for (const it of open) {
      if (signal.aborted) throw new StoppedError('moving the sessions that were set aside was interrupted')
      try {
        await this.#retry(it, attached)
      } catch (cause) {
        if (signal.aborted) throw cause
        failure ??= { cause }
        await queries.noteChecked(session, it) // so that the next pass does not start with it again
      }
    }
    const empty: string[] = []
    for (const segment of kept)
      if (!attached.includes(segment) || (await queries.isEmpty(session, segment))) empty.push(segment)
    return { empty, hasMoved: this.#hasMoved, failure }
  }

  async #retry(it: queries.SetAside, segments: readonly string[]): Promise<void> {
    const { session, log } = this.#options
    for (const segment of segments) {
      if (!(await queries.keepsSession(session, segment, it.sid))) continue
      const run = await copying.remainingRun(session, segment, it.sid)
      if (run === undefined) return queries.noteChecked(session, it)
      const damage = await this.#move(segment, run)
      if (damage === undefined) continue
      if (!it.isGivenUp && damage.seq === it.seq && damage.reason === it.reason)
        return queries.noteChecked(session, it)
      const name = await queries.endSetAside(session, it, damage)
      log.error({ ...name, sid: it.sid, ...damage }, 'session remains set aside: more of its log is damaged')
      return
    }
    const name = await queries.endSetAside(session, it, undefined)
    log.info(
      { ...name, sid: it.sid, outcome: it.isGivenUp ? 'given_up' : 'mended' },
      'session is no longer set aside',
    )
  }

  /** Moves events until the first one that is not valid. Returns what is wrong with it. */
  async #move(segment: string, run: copying.Run): Promise<Problem | undefined> {
    const { session, store, signal, probe } = this.#options
    let damage: Problem | undefined
    const check = () =>
      new RunCheck({
        ...this.#options,
        onDamage: (_, found) => {
          damage = found
        },
      })
    // The damage is usually still there, in the first event: checking that costs one row.
    const [first] = await copying.readRuns(session, segment, [{ ...run, lastSeq: run.firstSeq }], 1)
    if (first === undefined) return undefined
    const line = { firstSeq: run.firstSeq, text: Buffer.from(archiveLine(run.sessionId, first.event)) }
    await check().check(run, { ...line, hashes: [first.event.hash], versions: [first.event.chainVersion] })
    if (damage !== undefined) return damage

    const record = async (key: string, object: PackedObject) => {
      await copying.recordRemainder(session, segment, key, object)
      this.#hasMoved = true
    }
    const writer = new ObjectWriter({ store, segment, signal, probe, record })
    try {
      const whole = check()
      const packer = new Packer<copying.Run>(
        (object) => writer.add(object),
        PACKER_BOUNDS,
        (owner, slice) => whole.check(owner, slice),
      )
      for (const portion of portions([run]))
        for (let rest = portion; rest.length > 0 && damage === undefined; ) {
          if (signal.aborted)
            throw new StoppedError(`moving the events that ${segment} keeps was interrupted`)
          const events = await copying.readRuns(session, segment, rest, MAX_READ_BYTES)
          if (events.length === 0) break
          for (const { run: owner, event } of events) {
            const wait = packer.add(owner, event)
            if (wait) await wait
          }
          rest = remainder(rest, events.at(-1))
        }
      await packer.finish()
      await writer.finish()
    } finally {
      await writer.stop()
    }
    return damage
  }
}
