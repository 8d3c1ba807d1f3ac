import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { HttpConnection, post } from '../load/httpConnection.ts'
import { WebSocketReader } from '../load/webSocket.ts'
import { agentEvent } from '../payloads.ts'

const CONNECTIONS = 4
/** Sessions are begun and left, as in life, so that none grows for ever. */
const ACTIVE_SESSIONS = 40
const SESSION_EVERY_MS = 1000
const TAILS = 60
const TAIL_LIVES_MS = 8000
/** Every so many tails begin at the start of their session, wherever that is by now. */
const REPLAY_EVERY = 3

interface Session {
  readonly id: string
  lastSeq: number
}

/** Appends at a steady rate to sessions that come and go, and tails that come and go; what they see is checked. */
export class SoakLoad {
  readonly #port: number
  readonly #perSecond: number
  readonly #stopping = new AbortController()
  readonly #sessions: Session[] = []
  readonly faults: string[] = []
  #running: Promise<unknown> | undefined
  appended = 0
  delivered = 0
  tailsOpened = 0
  #created = 0

  constructor(port: number, perSecond: number) {
    this.#port = port
    this.#perSecond = perSecond
    setMaxListeners(0, this.#stopping.signal) // one for each that pauses
  }

  async start(): Promise<void> {
    const connection = await HttpConnection.open(this.#port)
    for (let i = 0; i < ACTIVE_SESSIONS; i += 1) await this.#newSession(connection)
    this.#running = Promise.all([
      this.#rotate(connection),
      ...Array.from({ length: CONNECTIONS }, () => this.#append()),
      ...Array.from({ length: TAILS }, (_, i) => this.#tail(i)),
    ])
    this.#running.catch((error) => this.faults.push(String(error)))
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running?.catch(() => {}) // told among the faults
  }

  get #isOver(): boolean {
    return this.#stopping.signal.aborted
  }

  #pause(ms: number): Promise<void> {
    return sleep(Math.max(0, ms), undefined, { signal: this.#stopping.signal }).catch(() => {})
  }

  #anySession(): Session {
    return this.#sessions[Math.floor(Math.random() * this.#sessions.length)]!
  }

  async #newSession(connection: HttpConnection): Promise<void> {
    this.#created += 1
    const id = `soak_${this.#created}`
    const { status, body } = await connection.exchange(post('/v1/sessions', { id }))
    if (status !== 201) this.faults.push(`a session: ${status} ${body}`)
    this.#sessions.push({ id, lastSeq: 0 })
  }

  async #rotate(connection: HttpConnection): Promise<void> {
    while (!this.#isOver) {
      await this.#pause(SESSION_EVERY_MS)
      await this.#newSession(connection)
      this.#sessions.shift()
    }
    connection.close()
  }

  async #append(): Promise<void> {
    const connection = await HttpConnection.open(this.#port)
    const stepMs = (1000 * CONNECTIONS) / this.#perSecond
    // What could not be sent in time is not made up for: the load is never more than it should be.
    for (let due = performance.now(); !this.#isOver; due = Math.max(due + stepMs, performance.now())) {
      await this.#pause(due - performance.now())
      const session = this.#anySession()
      const request = post(`/v1/sessions/${session.id}/append`, agentEvent(this.appended))
      const { status, body } = await connection.exchange(request)
      if (status !== 201) this.faults.push(`an append: ${status} ${body}`)
      else session.lastSeq = Math.max(session.lastSeq, JSON.parse(body).seq)
      this.appended += 1
    }
    connection.close()
  }

  async #tail(index: number): Promise<void> {
    await this.#pause((index / TAILS) * TAIL_LIVES_MS)
    for (let round = index; !this.#isOver; round += 1) {
      const session = this.#anySession()
      const cursor = round % REPLAY_EVERY === 0 ? 0 : session.lastSeq
      let seen = cursor
      const reader = await WebSocketReader.open(
        this.#port,
        `/v1/sessions/${session.id}/tail?cursor=${cursor}`,
        {
          text: (frame) => {
            const { seq } = JSON.parse(frame.toString()) as { seq: number }
            if (seq !== seen + 1) this.faults.push(`${session.id}: ${seq} came after ${seen}`)
            seen = seq
            this.delivered += 1
          },
          closed: (code) => this.faults.push(`a tail was closed with ${code}`),
        },
      )
      this.tailsOpened += 1
      const wanted = session.lastSeq
      await this.#pause(TAIL_LIVES_MS)
      if (!this.#isOver && seen < wanted) this.faults.push(`${session.id}: a tail is at ${seen} of ${wanted}`)
      reader.close()
    }
  }
}
