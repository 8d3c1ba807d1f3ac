import { performance } from 'node:perf_hooks'
import { EventStreamReader } from './eventStream.ts'
import { WebSocketReader } from './webSocket.ts'

export interface TailSet {
  readonly port: number
  readonly sessions: readonly string[]
  readonly perSession: number
  /** Over raw WebSockets, one each, unless this says otherwise. */
  readonly over?: 'websocket' | 'sse'
}

/** A connection that delivers events to a callback of its opener. */
interface Reader {
  close(): void
}

export interface Received {
  /** Milliseconds from each event's inserted_at to its receipt, of every tail. */
  readonly lags: Float64Array
  readonly missing: number
}

const OPENING_AT_ONCE = 50
const FRAME_START = '{"seq":'

/** Many raw tails of a node. Each must see 1, 2, 3 … of its session; anything else is thrown. */
export class Tails {
  readonly #readers: Reader[] = []
  readonly #sessions: SessionTails[]
  readonly #clock = wallClock()
  #lags: number[] = []
  #failure: Error | undefined
  #received = 0
  #wanted = Number.POSITIVE_INFINITY
  #reached: (() => void) | undefined

  private constructor(sessions: readonly string[]) {
    this.#sessions = sessions.map((session) => ({ session, insertedAt: [] }))
  }

  static async open({ port, sessions, perSession, over }: TailSet): Promise<Tails> {
    const tails = new Tails(sessions)
    const waiting = tails.#sessions.flatMap((session) => Array<SessionTails>(perSession).fill(session))
    const openOne = async (session: SessionTails) =>
      tails.#readers.push(await tails.#follow(port, session, over))
    await Promise.all(
      Array.from({ length: OPENING_AT_ONCE }, async () => {
        for (let next = waiting.pop(); next; next = waiting.pop()) await openOne(next)
      }),
    )
    return tails
  }

  /** Waits until all tails together have received `count` events since they were opened, or until it is too late. */
  async await(count: number, timeoutMs: number): Promise<Received> {
    this.#wanted = count
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#reached = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#look()
    })
    this.#wanted = Number.POSITIVE_INFINITY
    if (this.#failure !== undefined) throw this.#failure
    const lags = Float64Array.from(this.#lags)
    this.#lags = []
    return { lags, missing: count - this.#received }
  }

  close(): void {
    for (const reader of this.#readers) reader.close()
  }

  #follow(port: number, session: SessionTails, over: TailSet['over']): Promise<Reader> {
    let cursor = 0
    const open = over === 'sse' ? EventStreamReader.open : WebSocketReader.open
    return open(port, `/v1/sessions/${session.session}/tail?cursor=0`, {
      text: (frame) => {
        const now = this.#clock()
        const seq = seqOf(frame)
        if (seq !== cursor + 1) this.#fail(`a tail of ${session.session} at ${cursor} was sent ${seq}`)
        cursor = seq
        this.#lags.push(now - insertedAt(session, seq, frame))
        this.#received += 1
        this.#look()
      },
      closed: (code) => this.#fail(`a tail of ${session.session} was closed with ${code}`),
    })
  }

  #fail(what: string): void {
    this.#failure ??= new Error(what)
    this.#look()
  }

  #look(): void {
    if (this.#received >= this.#wanted || this.#failure !== undefined) this.#reached?.()
  }
}

interface SessionTails {
  readonly session: string
  /** In milliseconds, by seq; read out of the first copy of an event that any tail of the session receives. */
  readonly insertedAt: number[]
}

function insertedAt(session: SessionTails, seq: number, frame: Buffer): number {
  const known = session.insertedAt[seq]
  if (known !== undefined) return known
  const parsed = parseMicroseconds(JSON.parse(frame.toString()).inserted_at)
  session.insertedAt[seq] = parsed
  return parsed
}

/** Date.parse drops what is below a millisecond. */
function parseMicroseconds(time: string): number {
  return Date.parse(`${time.slice(0, 23)}Z`) + Number(time.slice(23, 26)) / 1000
}

function seqOf(frame: Buffer): number {
  const start = frame.toString('latin1', 0, FRAME_START.length + 16)
  if (!start.startsWith(FRAME_START)) return JSON.parse(frame.toString()).seq
  return Number.parseInt(start.slice(FRAME_START.length), 10)
}

/** The system's clock, which Postgres stamps events with, at a finer grain than Date.now has. */
function wallClock(): () => number {
  const before = Date.now()
  let tick = before
  while (tick === before) tick = Date.now()
  const offset = tick - performance.now()
  return () => offset + performance.now()
}
