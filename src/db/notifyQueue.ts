import { pause } from '../lib/backoff.ts'
import { type Idleness, NEVER_IDLE } from '../lib/idleness.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'

/** The interval of the checks while the queue is full. */
const FULL_CHECK_MS = 1000
/** The interval otherwise. */
const CHECK_MS = 30_000
/** Notifications resume below this share: directly below the limit they would soon be refused again. */
const ROOM = 0.5

/**
 * Postgres's notification queue, one for all databases of the server. A session in any database that listens and
 * stays in a transaction keeps it from being emptied; when it is full, no transaction that notifies can commit. From
 * then on this node writes without notifications, which are hints (docs/invariants.md), until there is room.
 *
 * room → (a commit was refused) full → (checked every second, which also lets Postgres drop what all have read) room.
 */
export class NotifyQueue {
  readonly #read: () => Promise<number>
  readonly #log: Log
  readonly #checking: Loop
  readonly #whenRoom = new Set<() => void>()
  #usage = 0
  #watching: Promise<void> | undefined
  #idleness = NEVER_IDLE

  /** `read` returns the used share of the queue. */
  constructor(read: () => Promise<number>, log: Log) {
    this.#read = read
    this.#log = log
    this.#checking = new Loop({
      pass: () => this.#check(),
      intervalMs: CHECK_MS,
      gate: (signal) => this.#idleness.awake(signal),
      onFailure: (error) => log.warn({ err: error }, 'checking the notification queue failed'),
    })
  }

  get isFull(): boolean {
    return this.#watching !== undefined
  }

  /** The used share at the last check: 0 to 1. */
  get usage(): number {
    return this.#usage
  }

  /** Calls `act` whenever notifications resume, because no other node was notified of what was written meanwhile. */
  onRoom(act: () => void): void {
    this.#whenRoom.add(act)
  }

  /** Called when a commit was refused because the queue is full. */
  foundFull(): void {
    if (this.#watching !== undefined || this.#checking.signal.aborted) return
    this.#usage = 1
    this.#log.error(
      'notification queue of the Postgres server is full: appends continue without notifications. A session that listens, ' +
        'in any database of the server, has been in a transaction for too long; end it (pg_stat_activity, oldest xact_start)',
    )
    this.#watching = this.#watch().finally(() => {
      this.#watching = undefined
      if (this.#checking.signal.aborted) return
      this.#log.info({ usage: this.#usage }, 'notification queue has room again')
      for (const act of this.#whenRoom) act()
    })
  }

  /** Starts the periodic checks of how full the queue is. */
  start(idleness: Idleness = NEVER_IDLE): void {
    this.#idleness = idleness
    this.#checking.start()
  }

  async #check(): Promise<void> {
    this.#usage = await this.#read()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#checking.stop(), this.#watching])
  }

  async #watch(): Promise<void> {
    const { signal } = this.#checking
    for (;;) {
      await pause(FULL_CHECK_MS, signal)
      if (signal.aborted) return
      const isAsked = await this.#check().then(
        () => true,
        () => false,
      )
      if (isAsked && this.#usage < ROOM) return
    }
  }
}
