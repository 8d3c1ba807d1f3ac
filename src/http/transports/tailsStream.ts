import { setMaxListeners } from 'node:events'
import { requireSession } from '../../auth/access.ts'
import { nameOfPrincipal, type Principal } from '../../auth/principal.ts'
import { mapAhead } from '../../lib/mapAhead.ts'
import { Semaphore } from '../../lib/semaphore.ts'
import type { SeenLog } from '../../live/queries.ts'
import type { AppError } from '../../protocol/errors.ts'
import type { RenderedEvent } from '../../protocol/event.ts'
import { seenLog } from '../../sessions/session.ts'
import type { Sink } from '../../tail/tail.ts'
import type { Services } from '../context.ts'
import { takeJoinTurn } from '../joinTurn.ts'
import type { TailRequest } from '../parseTails.ts'
import { existingSessionId } from '../sessionId.ts'
import type { EventStream } from './eventStream.ts'

/** The most pages that all tails together have in memory. A tail that waits for its turn has none. */
const MAX_PAGES = 2
/** Sessions that are looked up at a time, so that a long list leaves connections of Postgres to others. */
const LOOKUPS = 4

export interface TailsStreamOptions {
  readonly services: Services
  readonly principal: Principal
  readonly stream: EventStream
  readonly toAppError: (error: unknown) => AppError
}

/** Many tails on one event stream. Each begins, is refused and ends independently. The stream ends with the last. */
export class TailsStream {
  readonly #options: TailsStreamOptions
  readonly #pages = new Semaphore(MAX_PAGES)
  #draining: Promise<void> | undefined
  /** Whether a tail ended before its last event. */
  isCutShort = false

  constructor(options: TailsStreamOptions) {
    this.#options = options
    setMaxListeners(0, options.stream.signal) // each tail has some
  }

  /** Waits until a tail may send a page, fairly among tails. Resolves with the function that ends its turn. */
  async page(signal: () => AbortSignal): Promise<(() => void) | undefined> {
    const give = this.#pages.takeNow() ?? (await this.#pages.take(signal()))
    await this.#drained()
    return give && (() => void this.#drained().then(give))
  }

  /** Runs the tails. Resolves when the last has ended, or the stream has. */
  async run(wanted: readonly TailRequest[]): Promise<void> {
    const { stream } = this.#options
    const running: Promise<void>[] = []
    const begin = (tail: TailRequest) => this.#begin(tail).catch((error) => this.#refuse(tail, error))
    for await (const follow of mapAhead(wanted, LOOKUPS, begin)) {
      if (stream.signal.aborted) break
      if (follow !== undefined) running.push(follow())
    }
    await Promise.all(running)
  }

  /** Looks the session up. Resolves with the function that follows it. Throws the error that refuses the tail. */
  async #begin(wanted: TailRequest): Promise<(() => Promise<void>) | undefined> {
    const { services, principal, stream } = this.#options
    const { sessionId, cursor, seenAt } = wanted
    if (stream.signal.aborted) return undefined
    requireSession(principal, sessionId)
    existingSessionId(sessionId)
    const end = await takeJoinTurn(services, nameOfPrincipal(principal) ?? stream, stream.signal)
    if (end === undefined) return undefined
    try {
      const session = await services.sessions.get(principal.tenantId, sessionId)
      await services.cursors.assertNotAhead(cursor, session.lastSeq)
      await services.cursors.check(session, cursor, seenAt, end)
      const [{ sid }, seen] = [session, seenLog(session)]
      return () => this.#follow(wanted, sid, seen)
    } finally {
      end()
    }
  }

  async #follow(tail: TailRequest, sid: string, seen: SeenLog): Promise<void> {
    const { services, principal, stream } = this.#options
    const { sessionId, cursor } = tail
    const sink = new SinkOfTail(this, stream, JSON.stringify(sessionId))
    let release = () => {}
    try {
      release = services.tailQuota.take(principal)
      stream.tell(JSON.stringify({ session_id: sessionId, cursor }))
      await services.tails.run({ sid, seen, cursor, until: undefined, sink, signal: stream.signal })
    } catch (error) {
      this.#refuse(tail, error)
    } finally {
      sink.endPage()
      release()
    }
  }

  /** All tails share one wait, because each would set the time-out of the socket and clear it for the others. */
  #drained(): Promise<void> {
    const { stream } = this.#options
    this.#draining ??= stream
      .room(() => stream.signal)
      .finally(() => {
        this.#draining = undefined
      })
    return this.#draining
  }

  #refuse({ sessionId }: TailRequest, error: unknown): undefined {
    const refusal = this.#options.toAppError(error)
    if (refusal.code === 'history_damaged') this.isCutShort = true
    this.#options.stream.tell(JSON.stringify({ session_id: sessionId, ...refusal.toJSON() }))
  }
}

/** The sink of one of the tails. A page is read when it is this tail's turn. */
class SinkOfTail implements Sink {
  readonly readsAhead = false
  readonly #tails: TailsStream
  readonly #stream: EventStream
  readonly #sessionIdText: string
  #pageSent: (() => void) | undefined

  constructor(tails: TailsStream, stream: EventStream, sessionIdText: string) {
    this.#tails = tails
    this.#stream = stream
    this.#sessionIdText = sessionIdText
  }

  async room(signal: () => AbortSignal): Promise<void> {
    this.#pageSent ??= await this.#tails.page(signal)
  }

  send(events: readonly RenderedEvent[]): void {
    const texts = events.map((event) => event.text).join(',')
    this.#stream.tell(`{"session_id":${this.#sessionIdText},"events":[${texts}]}`)
    this.endPage()
  }

  endPage(): void {
    this.#pageSent?.()
    this.#pageSent = undefined
  }
}
