/**
 * The contract of appending, written down a second time and as plainly as can be: one event after the other, one
 * session after the other, whole states copied so that they can be put back. Tests hold starcite.append_events to it.
 */

export interface ModelEvent {
  readonly producer: { readonly id: string; readonly seq: number } | undefined
  /** Equal for events that the contract calls the same. */
  readonly content: string
  readonly expectedSeq: number | undefined
}

/** Events of one session; `atomic` ones are stored all or none. */
export interface ModelRequest {
  readonly session: string
  readonly atomic: boolean
  readonly events: readonly ModelEvent[]
}

export interface ModelOutcome {
  readonly outcome: string
  readonly seq: number | null
  readonly lastSeq: number | null
  readonly expected: number | null
}

export interface StoredEvent {
  readonly content: string
  readonly producerId: string | undefined
  readonly producerSeq: number | undefined
}

interface SessionState {
  readonly erased: boolean
  /** seq n is at n - 1. */
  readonly events: readonly StoredEvent[]
}

export class Model {
  readonly #sessions = new Map<string, SessionState>()

  create(session: string, options: { erased?: boolean } = {}): void {
    this.#sessions.set(session, { erased: options.erased ?? false, events: [] })
  }

  events(session: string): readonly StoredEvent[] {
    return this.#sessions.get(session)?.events ?? []
  }

  /** The producer_seq that a producer stored last, or undefined. */
  lastOf(session: string, producerId: string): number | undefined {
    return this.events(session).findLast((event) => event.producerId === producerId)?.producerSeq
  }

  append(request: ModelRequest): ModelOutcome[] {
    if (!request.atomic) return request.events.map((event) => this.#appendOne(request.session, event))
    const before = this.#sessions.get(request.session)
    const outcomes: ModelOutcome[] = []
    let carried: number | undefined // an expected_seq that met a retry stands for what follows it
    for (const event of request.events) {
      const expectedSeq = event.expectedSeq ?? carried
      const outcome = this.#appendOne(request.session, { ...event, expectedSeq })
      carried = outcome.outcome === 'deduped' ? expectedSeq : undefined
      outcomes.push(outcome)
      if (outcome.outcome === 'appended' || outcome.outcome === 'deduped') continue
      if (before) this.#sessions.set(request.session, before)
      const lastSeq = before ? before.events.length : null
      const refused = { outcome: 'batch_refused', seq: null, lastSeq, expected: null }
      return request.events.map((_, i) => (i === outcomes.length - 1 ? outcome : refused))
    }
    return outcomes
  }

  #appendOne(id: string, event: ModelEvent): ModelOutcome {
    const session = this.#sessions.get(id)
    if (session === undefined)
      return { outcome: 'session_not_found', seq: null, lastSeq: null, expected: null }
    const { events } = session
    const lastSeq = events.length
    const refused = (outcome: string, expected: number | null = null) => ({
      outcome,
      seq: null,
      lastSeq,
      expected,
    })
    if (session.erased) return refused('session_erased')
    const { producer } = event
    const known = producer && this.lastOf(id, producer.id)
    if (producer && known !== undefined && producer.seq !== known + 1) {
      const original = events.findIndex(
        (event) => event.producerId === producer.id && event.producerSeq === producer.seq,
      )
      if (original === -1) return refused('producer_seq_conflict', known + 1)
      if (events[original]?.content !== event.content) return refused('producer_replay_conflict')
      return { outcome: 'deduped', seq: original + 1, lastSeq, expected: null }
    }
    if (event.expectedSeq !== undefined && event.expectedSeq !== lastSeq)
      return refused('expected_seq_conflict')
    const stored = { content: event.content, producerId: producer?.id, producerSeq: producer?.seq }
    this.#sessions.set(id, { ...session, events: [...events, stored] })
    return { outcome: 'appended', seq: lastSeq + 1, lastSeq: lastSeq + 1, expected: null }
  }
}
