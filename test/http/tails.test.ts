import { expect } from 'chai'
import { at, expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { Issuer, inSeconds } from '../support/issuer.ts'
import { startNode } from '../support/node.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const seqs = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

interface Told {
  readonly session_id: string
  readonly cursor?: number
  readonly events?: readonly { readonly seq: number }[]
  readonly error?: string
  readonly message?: string
}

describe('many tails on one event stream', () => {
  const database = useDatabase()
  const issuer = use(() => Issuer.start())
  const node = useNode(database, { STARCITE_SSE_KEEPALIVE: '100ms', STARCITE_SOCKET_MAX_TOPICS: '3' })
  const streams: EventStreamClient[] = []

  afterEach(() => {
    for (const stream of streams.splice(0)) stream.close()
  })

  async function session(count = 0, base = node.url): Promise<string> {
    const { id } = (await call('POST', `${base}/v1/sessions`, { id: unique() })).json
    if (count > 0) await append(id, count, {}, base)
    return id
  }
  const append = (id: string, count: number, payload: object = {}, base = node.url) =>
    call('POST', at(base, id, '/events'), { events: seqs(count).map(() => ({ type: 'n', payload })) })
  function open(
    tails: readonly (string | { session_id: string; cursor: number | string })[],
    { base = node.url, headers = {} } = {},
  ): EventStreamClient {
    const body = { tails: tails.map((tail) => (typeof tail === 'string' ? { session_id: tail } : tail)) }
    const stream = new EventStreamClient(`${base}/v1/tails`, headers, body)
    streams.push(stream)
    return stream
  }
  const parsed = new WeakMap<EventStreamClient, Told[]>()
  function told(stream: EventStreamClient, id: string): Told[] {
    const known = parsed.get(stream) ?? []
    parsed.set(stream, known)
    for (const { data } of stream.messages.slice(known.length)) known.push(JSON.parse(data) as Told)
    return known.filter((message) => message.session_id === id)
  }
  const seqsOf = (stream: EventStreamClient, id: string) =>
    told(stream, id).flatMap((message) => message.events?.map(({ seq }) => seq) ?? [])
  const errorOf = (stream: EventStreamClient, id: string) =>
    told(stream, id).find((message) => message.error)?.error

  it('gives each session from its cursor on, then live, in order, with the bytes of history', async () => {
    const [a, b] = [await session(), await session(4)]
    const odd = '{"type":"n","payload":{\n\n"id"\n:\r\n\r\n1\r,\r"data":"id: 7\\n\\ndata: x"\n\n}}'
    await call('POST', at(node.url, a, '/append'), odd)

    const stream = open([a, { session_id: b, cursor: '2' }])
    await stream.until(
      'the stored ones',
      () => seqsOf(stream, a).length === 1 && seqsOf(stream, b).length === 2,
    )
    await Promise.all([append(a, 2), append(b, 2)])
    await stream.until(
      'the live ones',
      () => seqsOf(stream, a).length === 3 && seqsOf(stream, b).length === 4,
    )

    expect(seqsOf(stream, a)).to.deep.equal([1, 2, 3])
    expect(seqsOf(stream, b)).to.deep.equal([3, 4, 5, 6])
    expect(told(stream, b)[0]).to.deep.equal({ session_id: b, cursor: 2 })
    const { text } = await call('GET', at(node.url, b, '/events?cursor=2&limit=2'))
    const [, events = ''] = /"events":(\[.*\]),"next_cursor/.exec(text) ?? []
    expect(stream.events).to.include(`{"session_id":"${b}","events":${events}}`)
    const first = told(stream, a).find((message) => message.events)
    expect(first?.events?.[0]).to.deep.include({ payload: { id: 1, data: 'id: 7\n\ndata: x' } })
    await stream.until('a comment', () => stream.comments.length > 0)
  })

  it('tells a refused tail, and one whose session is erased, without ending the others; ends with the last', async () => {
    const [good, ahead, absent] = [await session(1), await session(1), unique()]
    const stream = open([absent, { session_id: ahead, cursor: 5 }, good])
    await stream.until('all are answered', () => stream.messages.length >= 4)

    expect(told(stream, absent)).to.have.length(1)
    expect(told(stream, absent)[0]).to.include({ error: 'session_not_found' })
    expect(told(stream, ahead)[0]).to.include({ error: 'cursor_ahead', last_seq: 1 })
    await append(good, 1)
    await stream.until('the good one goes on', () => seqsOf(stream, good).length === 2)
    expect(stream.ended).to.equal(false)

    await call('DELETE', at(node.url, good))
    await stream.until('the end', () => stream.ended)
    expect(errorOf(stream, good)).to.equal('session_erased')
  })

  it('refuses a list that is none, is empty, too long, names a session twice, or has a bad cursor', async () => {
    const post = (body: unknown) => call('POST', `${node.url}/v1/tails`, body)
    const tail = (session_id: unknown, cursor: unknown = 0) => ({ session_id, cursor })

    for (const body of [{}, { tails: {} }, { tails: [] }, { tails: null }])
      expectError(await post(body), 400, 'invalid_tails', { field: 'tails' })
    const many = { tails: ['a', 'b', 'c', 'd'].map((id) => tail(id)) }
    expectError(await post(many), 400, 'invalid_tails', { field: 'tails', max_tails: 3 })
    for (const [wrong, field] of [
      [tail('a'), 'session_id'],
      [tail(''), 'session_id'],
      [tail(7), 'session_id'],
      [{ cursor: 1 }, 'session_id'],
      [tail('b', -1), 'cursor'],
      [tail('b', 1.5), 'cursor'],
      [tail('b', '1e3'), 'cursor'],
    ] as const)
      expectError(await post({ tails: [tail('a'), wrong] }), 400, 'invalid_tails', { field, index: 1 })
    expectError(await post('[]'), 400, 'invalid_tails')
    expectError(await post('{'), 400, 'invalid_json')
    expectError(await post(`{"x":"${'x'.repeat(3 * 640)}"}`), 413, 'body_too_large')
    expectError(await call('GET', `${node.url}/v1/tails`), 405, 'method_not_allowed')
  })

  it('counts each tail against its principal, keeps to the session of a token, and ends with the token', async () => {
    const guarded = await startNode(database, {
      ...issuer.settings,
      STARCITE_AUTH_JWT_LEEWAY_SECONDS: '0',
      STARCITE_MAX_TAILS_PER_PRINCIPAL: '2',
    })
    try {
      const all = await issuer.bearer()
      const ids = [unique(), unique(), unique()] as const
      for (const id of ids) await call('POST', `${guarded.url}/v1/sessions`, { id }, all)

      const stream = open(ids, { base: guarded.url, headers: all })
      await stream.until('all are answered', () => stream.messages.length >= 3)
      const other = open([ids[2]], { base: guarded.url, headers: all })
      await other.until('it is refused', () => errorOf(other, ids[2]) !== undefined)
      const locked = await issuer.bearer({ sub: 'user:bob', session_id: ids[0], exp: inSeconds(4) })
      const ofBob = open(ids.slice(0, 2), { base: guarded.url, headers: locked })
      await ofBob.until('both are answered', () => ofBob.messages.length >= 2)

      expect(ids.filter((id) => errorOf(stream, id) === 'too_many_tails')).to.have.length(1)
      expect(errorOf(other, ids[2])).to.equal('too_many_tails')
      await other.until('a stream without tails ends', () => other.ended)
      expect(told(ofBob, ids[0])).to.deep.equal([{ session_id: ids[0], cursor: 0 }])
      expect(errorOf(ofBob, ids[1])).to.equal('forbidden_session')
      await ofBob.until('its token is over', () => ofBob.ended)
      expect(stream.ended).to.equal(false)
      stream.close()
      const again = await until('its tails are given back', async () => {
        const retry = open([ids[2]], { base: guarded.url, headers: all })
        await retry.until('it is answered', () => retry.messages.length > 0)
        return errorOf(retry, ids[2]) === undefined ? retry : undefined
      })
      expect(told(again, ids[2])[0]).to.deep.equal({ session_id: ids[2], cursor: 0 })
    } finally {
      await guarded.stop()
    }
  })

  it('does not make a live tail wait for the replay of another, and is cut when nothing is taken', async () => {
    const strict = await startNode(database, { STARCITE_STALL_TIMEOUT: '1s' })
    try {
      const [big, live] = [await session(0, strict.url), await session(0, strict.url)]
      for (let i = 0; i < 2; i += 1) await append(big, 75, { x: 'x'.repeat(100_000) }, strict.url)
      const stream = open([live, big], { base: strict.url })
      await stream.until(
        'both have begun',
        () => told(stream, live).length > 0 && told(stream, big).length > 0,
      )
      stream.response?.pause()
      await append(live, 1, {}, strict.url)
      stream.response?.resume()
      await stream.until('the live one', () => seqsOf(stream, live).length === 1)
      const before = seqsOf(stream, big).length
      await stream.until('all of it', () => seqsOf(stream, big).length === 150)

      expect(before).to.be.below(150)
      expect(seqsOf(stream, big)).to.deep.equal(seqs(150))
      const stalled = open([big, live], { base: strict.url })
      await stalled.until('both have begun', () => stalled.messages.length >= 2)
      stalled.response?.pause()
      await until('it is cut', async () => {
        const { text } = await call('GET', `${strict.url}/metrics`)
        return text.includes('starcite_tails 2\n')
      })
    } finally {
      await strict.stop()
    }
  })

  it('ends when the node drains', async () => {
    const draining = await startNode(database, { STARCITE_DRAIN_SPREAD: '100ms' })
    const stream = open([await session(1)], { base: draining.url })
    await stream.until('it has begun', () => stream.messages.length === 2)

    await draining.stop()

    expect(stream.ended).to.equal(true)
  })
})
