import { setTimeout as sleep } from 'node:timers/promises'
import { call } from './client.ts'

/** A promise that the log made, or a refusal, or neither. */
export interface Sent {
  readonly session: string
  /** In the payload of each of its events. */
  readonly ids: readonly string[]
  /** The seqs that were acknowledged, one for each id. */
  readonly seqs: readonly number[] | undefined
  /** `once`: sent again until it was acknowledged. `perhaps`: no answer told. */
  readonly fate: 'acknowledged' | 'refused' | 'perhaps'
}

export interface ChaosWriterOptions {
  readonly name: string
  readonly nodes: readonly string[]
  readonly sessions: readonly string[]
  /** Milliseconds since the epoch, or asked each time. */
  readonly until: number | (() => boolean)
  /** Between one request and the next; absent, as fast as it is answered. */
  readonly pauseMs?: number
}

/** No call takes longer, or a client was left waiting (I9). */
export const CALL_TIMEOUT_MS = 20_000
const RETRY_PAUSE_MS = 40

/**
 * A client without mercy: one event or several, with and without producer keys and expected_seq, at any node. What has
 * a producer key is sent again until it is acknowledged, now and then twice at once, and now and then once more
 * although it was acknowledged long ago.
 */
export class ChaosWriter {
  readonly sent: Sent[] = []
  readonly faults: string[] = []
  slowestMs = 0
  /** Answers by status, and, as `cut`, calls that ended without one. */
  readonly answers = new Map<number | 'cut', number>()
  readonly #options: ChaosWriterOptions
  readonly #nextProducerSeq = new Map<string, number>()
  readonly #lastSeq = new Map<string, number>()
  readonly #bodies: { path: string; body: string; seqs: readonly number[] }[] = []
  #ids = 0

  constructor(options: ChaosWriterOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    while (!this.#isOver()) {
      if (this.#options.pauseMs !== undefined) await sleep(this.#options.pauseMs)
      const kind = Math.random()
      if (kind < 0.15) await this.#sendOnce({ events: 1 })
      else if (kind < 0.25) await this.#sendOnce({ events: 2 + pick(4) })
      else if (kind < 0.4) await this.#sendOnce({ events: 1 + pick(3), expects: true })
      else if (kind < 0.5) await this.#sendAgain()
      else await this.#sendUntilAcknowledged(kind < 0.75 ? 1 : 2 + pick(6))
    }
  }

  #isOver(): boolean {
    const { until } = this.#options
    return typeof until === 'number' ? Date.now() >= until : until()
  }

  /** Without producer keys: when no answer tells, it may be stored, and must not be sent again. */
  async #sendOnce({ events, expects = false }: { events: number; expects?: boolean }): Promise<void> {
    const session = this.#anySession()
    const ids = this.#newIds(events)
    const expected = expects ? { expected_seq: this.#lastSeq.get(session) ?? 0 } : {}
    const { path, body } = request(session, ids.map(event), expected)
    const answer = await this.#call(path, body)
    if (answer === undefined || answer.status === 503)
      this.sent.push({ session, ids, seqs: undefined, fate: 'perhaps' })
    else if (answer.status === 201) {
      const seqs = seqsOf(answer.json)
      if (expects && seqs[0] !== (expected.expected_seq ?? 0) + 1)
        this.faults.push(`expected_seq ${expected.expected_seq} became ${seqs[0]}`)
      this.#acknowledged(session, ids, answer.json)
    } else {
      this.sent.push({ session, ids, seqs: undefined, fate: 'refused' })
      if (expects && answer.status === 409) this.#lastSeq.set(session, answer.json.current_seq)
      else if (answer.status !== 429) this.faults.push(`${answer.status} ${answer.text}`)
    }
  }

  async #sendUntilAcknowledged(events: number): Promise<void> {
    const session = this.#anySession()
    const ids = this.#newIds(events)
    const first = this.#nextProducerSeq.get(session) ?? 1
    this.#nextProducerSeq.set(session, first + events)
    const keyed = ids.map((id, i) => ({
      ...event(id),
      producer_id: this.#options.name,
      producer_seq: first + i,
    }))
    const { path, body } = request(session, keyed, {})
    for (;;) {
      const tries = Math.random() < 0.1 ? 2 : 1
      const answers = await Promise.all(Array.from({ length: tries }, () => this.#call(path, body)))
      const yes = answers.filter((answer) => answer?.status === 201)
      for (const answer of answers)
        if (answer && ![201, 429, 503].includes(answer.status))
          this.faults.push(`${answer.status} ${answer.text}`)
      for (const answer of yes) this.#acknowledged(session, ids, answer?.json)
      if (yes[0]) {
        this.#bodies.push({ path, body, seqs: seqsOf(yes[0].json) })
        return
      }
      await sleep(RETRY_PAUSE_MS * Math.random())
    }
  }

  /** A retry that comes late must be recognised, and show the seqs of the original. */
  async #sendAgain(): Promise<void> {
    const before = this.#bodies[pick(this.#bodies.length)]
    if (before === undefined) return
    const answer = await this.#call(before.path, before.body)
    if (answer === undefined || answer.status === 503 || answer.status === 429) return
    const seqs = answer.status === 201 ? seqsOf(answer.json) : undefined
    if (JSON.stringify(seqs) !== JSON.stringify(before.seqs))
      this.faults.push(`${answer.status} ${answer.text} where ${before.seqs} was sent again`)
  }

  #acknowledged(session: string, ids: readonly string[], json: Parameters<typeof seqsOf>[0]): void {
    this.sent.push({ session, ids, seqs: seqsOf(json), fate: 'acknowledged' })
    this.#lastSeq.set(session, json.last_seq)
  }

  #anySession(): string {
    return this.#options.sessions[pick(this.#options.sessions.length)] as string
  }

  #newIds(count: number): string[] {
    return Array.from({ length: count }, () => {
      this.#ids += 1
      return `${this.#options.name}.${this.#ids}`
    })
  }

  async #call(path: string, body: string) {
    const node = this.#options.nodes[pick(this.#options.nodes.length)] as string
    const started = performance.now()
    const answer = await call('POST', `${node}${path}`, body, {}, CALL_TIMEOUT_MS).catch((error: Error) => {
      if (error.name === 'TimeoutError') this.faults.push(`no answer within ${CALL_TIMEOUT_MS} ms`)
      return undefined
    })
    this.slowestMs = Math.max(this.slowestMs, performance.now() - started)
    const kind = answer?.status ?? 'cut'
    this.answers.set(kind, (this.answers.get(kind) ?? 0) + 1)
    if ((kind === 503 || kind === 429) && !(Number(answer?.headers.get('retry-after')) >= 1))
      this.faults.push(`${kind} without Retry-After: ${answer?.text}`)
    // A node that is away refuses at once: not every client hammers it.
    if (answer === undefined) await sleep(RETRY_PAUSE_MS)
    return answer
  }
}

const pick = (count: number) => Math.floor(Math.random() * count)

const event = (id: string) => ({ type: 'chaos', payload: { id, n: 1.5, text: 'x'.repeat(pick(300)) } })

function request(session: string, events: readonly object[], more: object): { path: string; body: string } {
  return events.length === 1
    ? { path: `/v1/sessions/${session}/append`, body: JSON.stringify({ ...events[0], ...more }) }
    : { path: `/v1/sessions/${session}/events`, body: JSON.stringify({ events, ...more }) }
}

function seqsOf(json: { seq?: number; last_seq: number; results?: readonly { seq: number }[] }): number[] {
  return json.results ? json.results.map(({ seq }) => seq) : [json.seq as number]
}
