import { Socket } from 'node:net'
import pgListen, { type Subscriber } from 'pg-listen'
import { jittered, pause } from '../lib/backoff.ts'
import type { Log } from '../ops/log.ts'
import type { Seq } from '../protocol/event.ts'

export interface ListenerOptions {
  /** A direct connection: LISTEN does not work through a transaction pooler. Read for each connection. */
  readonly url: string
  readonly log: Log
  /** A session is at this seq; with an epoch: content of it was removed. */
  readonly onHead: (sid: string, lastSeq: Seq, epoch: number | undefined) => void
  /** Feeds have grown; they are named by their keys. */
  readonly onFeeds: (keys: readonly string[]) => void
  /** Connected, at first or again: whatever was notified before is lost. */
  readonly onConnected: () => void
  readonly onDisconnected: () => void
  readonly checkIntervalMs?: number
}

export const HEADS_CHANNEL = 'starcite_heads'
export const LIFECYCLE_CHANNEL = 'starcite_lifecycle'

/** Nothing is ever sent on it. */
const CHECK_CHANNEL = 'starcite_check'

/** A link that fell silent is found within twice this: the check itself may take as long. */
const CHECK_INTERVAL_MS = 5000
const CONNECT_TIMEOUT_MS = 5000
/** A server that is there has taken our goodbye by then. */
const CLOSE_TIMEOUT_MS = 300
const RETRY_BASE_MS = 100
const RETRY_MAX_MS = 5000

/**
 * The one LISTEN connection of a process. connecting → listening → (broken) → connecting …, until stopped.
 *
 * pg-listen does the listening; reconnecting is ours, because its own gives up, tells nobody what was missed, and
 * leaks a backend when it is closed in the middle: `retryLimit: 1` makes it report every loss at once and try
 * nothing. A half-open link is found by a periodic check, which `query_timeout` bounds. The check is ours because
 * pg-listen's calls a function, which the search path of the login could lead to somebody else's; nothing that is sent here
 * looks up a name. The socket is ours too: over such a link pg would say goodbye and wait for ever for the other side to
 * hang up.
 */
export class Listener {
  readonly #options: ListenerOptions
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  #renew: (() => void) | undefined
  /** Milliseconds since the epoch; undefined while listening. */
  #downSince: number | undefined = Date.now()

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  /** Milliseconds without notifications; 0 while they arrive. */
  get downForMs(): number {
    return this.#downSince === undefined ? 0 : Date.now() - this.#downSince
  }

  /** Does not wait for the connection: tails work without it, by polling. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Listens on a new connection: the old one may lead to a server that nobody writes to any more. */
  renew(): void {
    this.#renew?.()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stopping
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await this.#listenUntilBroken(() => {
          attempt = 0
        })
      } catch (error) {
        log.warn({ err: error, attempt }, 'the notification listener is down; tails go on by polling')
      }
      await pause(jittered(attempt, RETRY_BASE_MS, RETRY_MAX_MS), signal)
    }
  }

  async #listenUntilBroken(onListening: () => void): Promise<void> {
    const { signal } = this.#stopping
    const socket = new Socket()
    const over = new AbortController()
    const subscriber = this.#subscriber(socket)
    try {
      await new Promise<void>((resolve, reject) => {
        subscriber.events.on('error', reject)
        this.#renew = resolve
        signal.addEventListener('abort', () => resolve(), { signal: over.signal })
        this.#connect(subscriber).then(() => {
          if (signal.aborted || over.signal.aborted) return
          this.#keepChecking(subscriber, over.signal).catch(reject)
          onListening()
          this.#downSince = undefined
          this.#options.onConnected()
        }, reject)
      })
    } finally {
      over.abort()
      this.#renew = undefined
      if (this.#downSince === undefined) {
        this.#downSince = Date.now()
        this.#options.onDisconnected()
      }
      const impatience = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS)
      await subscriber.close().catch(() => {})
      clearTimeout(impatience)
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
        keepAlive: true,
        stream: () => socket,
      },
      { retryLimit: 1, paranoidChecking: false, parse: (text: string) => text },
    )
    subscriber.notifications.on(HEADS_CHANNEL, (payload) => this.#onHeads(payload))
    subscriber.notifications.on(LIFECYCLE_CHANNEL, (payload) => this.#onFeeds(payload))
    return subscriber
  }

  async #connect(subscriber: Subscriber<Record<string, string>>): Promise<void> {
    await subscriber.connect()
    await subscriber.listenTo(HEADS_CHANNEL) // one after the other: a client takes one query at a time
    await subscriber.listenTo(LIFECYCLE_CHANNEL)
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

  /** Hints come from SQL too, so whatever is not `[[sid, last_seq], …]`, some with an epoch, is reported and passed over. */
  #onHeads(payload: string): void {
    try {
      for (const [sid, lastSeq, epoch] of JSON.parse(payload) as [unknown, unknown, unknown][]) {
        const isHead = [sid, lastSeq, epoch ?? 0].every(Number.isSafeInteger)
        if (!isHead) throw new TypeError(`no head: ${sid}`)
        this.#options.onHead(String(sid), lastSeq as Seq, epoch as number | undefined)
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, `a notification on ${HEADS_CHANNEL} is not a list of heads`)
    }
  }

  #onFeeds(payload: string): void {
    try {
      const keys = JSON.parse(payload) as unknown
      if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string'))
        throw new TypeError('not a list of texts')
      this.#options.onFeeds(keys)
    } catch (error) {
      this.#options.log.warn({ err: error }, `a notification on ${LIFECYCLE_CHANNEL} is not a list of feeds`)
    }
  }
}
