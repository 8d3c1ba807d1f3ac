interface StoredEvent {
  readonly seq: number
  readonly text: string
  readonly producer: string | undefined
}

type Sent = { producer_id?: string; producer_seq?: number } & Record<string, unknown>

/**
 * What the contract says of one session's appends and history, in memory: for tests of the client with more answers than
 * real nodes give.
 */
export class ModelServer {
  readonly stored: StoredEvent[]

  constructor(stored: readonly StoredEvent[] = []) {
    this.stored = [...stored]
  }

  clone(): ModelServer {
    return new ModelServer(this.stored)
  }

  /** The events' payloads, in order. */
  get payloads(): unknown[] {
    return this.stored.map(({ text }) => JSON.parse(text).payload)
  }

  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const { pathname, searchParams } = new URL(url)
    const body = init.body === undefined ? undefined : JSON.parse(String(init.body))
    if (init.method === 'POST' && pathname.endsWith('/events')) return this.#append(body.events)
    if (init.method === 'GET' && pathname.endsWith('/events')) return this.#page(searchParams)
    return answer(404, { error: 'not_found', message: pathname })
  }

  #append(events: readonly Sent[]): Response {
    const then = this.clone()
    const results: { seq: number; deduped: boolean }[] = []
    for (const [index, event] of events.entries()) {
      const { producer_id: id, producer_seq: number } = event
      const mine = then.stored.filter(({ producer }) => producer?.startsWith(`${id} `))
      const known = mine.find(({ producer }) => producer === `${id} ${number}`)
      if (known !== undefined && known.text === JSON.stringify(event)) {
        results.push({ seq: known.seq, deduped: true })
        continue
      }
      if (known !== undefined) return answer(409, { error: 'producer_replay_conflict', index })
      const expected = Number(mine.at(-1)?.producer?.split(' ')[1] ?? Number(number) - 1) + 1
      if (id !== undefined && number !== expected)
        return answer(409, { error: 'producer_seq_conflict', expected_producer_seq: expected, index })
      const seq = then.stored.length + 1
      const producer = id === undefined ? undefined : `${id} ${number}`
      then.stored.push({ seq, text: JSON.stringify(event), producer })
      results.push({ seq, deduped: false })
    }
    this.stored.splice(0, this.stored.length, ...then.stored)
    const last_seq = this.stored.length
    return answer(201, { results, last_seq, cursor: results.at(-1)?.seq, committed_cursor: last_seq })
  }

  #page(query: URLSearchParams): Response {
    const limit = Number(query.get('limit') ?? 100)
    const last_seq = this.stored.length
    const cursor = query.get('cursor')
    const isDesc = query.get('order') === 'desc'
    const found = isDesc
      ? this.stored.slice(0, Math.min(Number(cursor ?? last_seq + 1) - 1, last_seq)).reverse()
      : this.stored.slice(Number(cursor ?? 0))
    const events = found.slice(0, limit).map(({ seq, text }) => ({
      seq,
      actor: 'a',
      metadata: {},
      refs: {},
      inserted_at: 't',
      ...JSON.parse(text),
    }))
    const reached = events.at(-1)?.seq ?? Number(cursor ?? 0)
    return answer(200, { events, next_cursor: isDesc && reached <= 1 ? null : reached, last_seq })
  }
}

export const answer = (status: number, body: object): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })
