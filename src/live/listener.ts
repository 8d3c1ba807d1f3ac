import { randomUUID } from 'node:crypto'
import { Socket } from 'node:net'
import pgListen, { type Subscriber } from 'pg-listen'
import { pause } from '../lib/backoff.ts'
import { type Idleness, NEVER_IDLE } from '../lib/idleness.ts'
import { Loop } from '../lib/loop.ts'
import type { Log } from '../ops/log.ts'
import type { Seq } from '../protocol/event.ts'

export interface ListenerOptions {
  /** A direct connection: LISTEN does not work through a transaction pooler. Read for each connection. */
  readonly url: string
  /** Notifies over another connection, which must lead to the same database. */
  readonly notify: (channel: string, payload: string) => Promise<unknown>
  readonly log: Log
  /** A session is at this seq; with an epoch: content of it was removed. */
  readonly onHead: (sid: string, lastSeq: Seq, epoch: number | undefined) => void
  /** Feeds have grown; they are named by their keys. */
  readonly onFeeds: (keys: readonly string[]) => void
  /** Called after each connect: notifications from before it are lost. */
  readonly onConnected: () => void
  readonly onDisconnected: () => void
  readonly checkIntervalMs?: number
  /** An idle node holds no connection. */
  readonly idleness?: Idleness
}

export const HEADS_CHANNEL = 'starcite_heads'
const LIFECYCLE_CHANNEL = 'starcite_lifecycle'
/** Carries the probes by which a listener finds out whether notifications arrive. Every node receives all of them. */
const PROBE_CHANNEL = 'starcite_probe'

/** Nothing is ever sent on this channel. Listening on it checks the connection. */
const CHECK_CHANNEL = 'starcite_check'

/** A half-open connection is found within twice this, since the check itself may take as long. */
const CHECK_INTERVAL_MS = 5000
const CONNECT_TIMEOUT_MS = 5000
const PROBE_TIMED_OUT =
  'a notification sent over DATABASE_URL did not arrive: set STARCITE_LISTEN_URL to a direct connection to the same ' +
  'database, past any pooler'
/** The connection is idle most of the time. PgBouncer refuses this option (08P01); the next attempt goes without it. */
const STAY = '-c idle_session_timeout=0'
/** A server that is reachable has closed the connection by then. */
const CLOSE_TIMEOUT_MS = 300
const BACKOFF = { baseMs: 100, maxMs: 5000 }

/** A notification that was sent over another connection did not arrive on this one. */
class ProbeTimeoutError extends Error {
  override readonly name = 'ProbeTimeoutError'
}

/**
 * The one LISTEN connection of a process. connecting → listening → (broken, or the node is idle) → connecting …, until
 * stopped. It counts as listening once a notification that was sent over another connection has arrived: poolers accept LISTEN,
 * but deliver nothing.
 *
 * pg-listen listens; this class reconnects, because pg-listen gives up, does not report what was missed, and leaks a backend
 * when it is closed while it reconnects. `retryLimit: 1` makes it report every loss at once and retry nothing. A periodic check,
 * bounded by `query_timeout`, finds a half-open connection. pg-listen's own check calls a function, which the login's search
 * path could resolve to a function of another user; no statement here looks up a name. This class owns the socket too: over a
 * half-open connection pg would wait for ever for the other side to close.
 */
export class Listener {
  readonly #options: ListenerOptions
  readonly #idleness: Idleness
  readonly #loop: Loop
  #renew: (() => void) | undefined
  #takesOptions = true
  #heard: ((payload: string) => void) | undefined
  /** Since when there are no notifications, in milliseconds since 1970; undefined while listening. */
  #downSince: number | undefined = Date.now()

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#idleness = options.idleness ?? NEVER_IDLE
    this.#idleness.onIdle(() => this.renew())
    this.#loop = new Loop({
      pass: (signal) => this.#listenUntilBroken(signal),
      intervalMs: BACKOFF.baseMs,
      firstInMs: 0,
      gate: (signal) => this.#awake(signal),
      backoff: BACKOFF,
      onFailure: (error, failures) =>
        options.log.warn(
          { err: error, failures },
          'notification listener is down: tails continue by polling',
        ),
    })
  }

  /** Milliseconds without notifications; 0 while they arrive, and while the node is idle. */
  get downForMs(): number {
    if (this.#idleness.isIdle) return 0
    return this.#downSince === undefined ? 0 : Date.now() - this.#downSince
  }

  /** Does not wait for the connection: without it, tails poll. */
  start(): void {
    this.#loop.start()
  }

  /** Listens on a new connection: the old one may lead to a server that is no longer the primary. */
  renew(): void {
    this.#renew?.()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #awake(signal: AbortSignal): Promise<void> {
    if (!this.#idleness.isIdle) return
    await this.#idleness.awake(signal)
    this.#downSince = Date.now()
    this.#loop.resetBackoff()
  }

  async #listenUntilBroken(signal: AbortSignal): Promise<void> {
    const socket = new Socket()
    const over = new AbortController()
    const subscriber = this.#subscriber(socket)
    try {
      await new Promise<void>((resolve, reject) => {
        subscriber.events.on('error', reject)
        this.#renew = resolve
        signal.addEventListener('abort', () => resolve(), { signal: over.signal })
        this.#connect(subscriber, over.signal).then(() => {
          if (signal.aborted || over.signal.aborted) return
          this.#keepChecking(subscriber, over.signal).catch(reject)
          this.#loop.resetBackoff()
          this.#downSince = undefined
          this.#options.onConnected()
        }, reject)
      })
    } catch (error) {
      if (!this.#takesOptions || !isProtocolViolation(error)) throw error
      this.#takesOptions = false
    } finally {
      over.abort()
      this.#renew = undefined
      if (this.#downSince === undefined) {
        this.#downSince = Date.now()
        this.#options.onDisconnected()
      }
      const closeTimer = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS)
      await subscriber.close().catch(() => {})
      clearTimeout(closeTimer)
    }
  }

  #subscriber(socket: Socket): Subscriber<Record<string, string>> {
    const { url, checkIntervalMs = CHECK_INTERVAL_MS } = this.#options
    // A CommonJS module seen from ESM: its default export is a member.
    const subscriber = pgListen.default<Record<string, string>>(
      {
        connectionString: url,
        application_name: 'starcite listener',
        connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
        query_timeout: checkIntervalMs,
        ...(this.#takesOptions && { options: STAY }),
        keepAlive: true,
        stream: () => socket,
      },
      { retryLimit: 1, paranoidChecking: false, parse: (text: string) => text },
    )
    subscriber.notifications.on(HEADS_CHANNEL, (payload) => this.#onHeads(payload))
    subscriber.notifications.on(LIFECYCLE_CHANNEL, (payload) => this.#onFeeds(payload))
    subscriber.notifications.on(PROBE_CHANNEL, (payload) => this.#heard?.(payload))
    return subscriber
  }

  async #connect(subscriber: Subscriber<Record<string, string>>, over: AbortSignal): Promise<void> {
    await subscriber.connect()
    await subscriber.listenTo(HEADS_CHANNEL) // one after the other: a client takes one query at a time
    await subscriber.listenTo(LIFECYCLE_CHANNEL)
    await subscriber.listenTo(PROBE_CHANNEL)
    await this.#probe(over)
  }

  async #probe(over: AbortSignal): Promise<void> {
    const { notify, checkIntervalMs = CHECK_INTERVAL_MS } = this.#options
    const token = randomUUID()
    let timer: NodeJS.Timeout | undefined
    const heard = new Promise<void>((resolve, reject) => {
      over.addEventListener('abort', () => reject(new Error('the connection is over')), { once: true })
      this.#heard = (payload) => payload === token && resolve()
      timer = setTimeout(() => reject(new ProbeTimeoutError(PROBE_TIMED_OUT)), checkIntervalMs)
    })
    heard.catch(() => {}) // sending may fail first
    try {
      await notify(PROBE_CHANNEL, token)
      await heard
    } finally {
      clearTimeout(timer)
      this.#heard = undefined
    }
  }

  /** Rejects when the connection does not answer within the interval. */
  async #keepChecking(subscriber: Subscriber<Record<string, string>>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await pause(this.#options.checkIntervalMs ?? CHECK_INTERVAL_MS, signal)
      if (signal.aborted) return
      await subscriber.listenTo(CHECK_CHANNEL)
      await subscriber.unlisten(CHECK_CHANNEL)
    }
  }

  /** SQL users can notify too: a payload other than `[[sid, last_seq], …]`, optionally with an epoch, is logged and ignored. */
  #onHeads(payload: string): void {
    try {
      for (const [sid, lastSeq, epoch] of JSON.parse(payload) as [unknown, unknown, unknown][]) {
        const isHead = [sid, lastSeq, epoch ?? 0].every(Number.isSafeInteger)
        if (!isHead) throw new TypeError(`no head: ${sid}`)
        this.#options.onHead(String(sid), lastSeq as Seq, epoch as number | undefined)
      }
    } catch (error) {
      this.#options.log.warn(
        { err: error },
        `invalid notification on ${HEADS_CHANNEL}: expected [[sid, last_seq], …]`,
      )
    }
  }

  #onFeeds(payload: string): void {
    try {
      const keys = JSON.parse(payload) as unknown
      if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string'))
        throw new TypeError('not a list of texts')
      this.#options.onFeeds(keys)
    } catch (error) {
      this.#options.log.warn(
        { err: error },
        `invalid notification on ${LIFECYCLE_CHANNEL}: expected a list of feed keys`,
      )
    }
  }
}

const isProtocolViolation = (error: unknown): boolean => (error as { code?: string }).code === '08P01'
