import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { ANYONE, type Principal } from '../../src/auth/principal.ts'
import { Starcite } from '../../src/client/starcite.ts'
import { unique } from '../support/answers.ts'
import { Guests, startGuardedNode } from '../support/guardedNode.ts'
import { PhoenixTails } from '../support/phoenixTails.ts'
import { SocketClient } from '../support/socketClient.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { useDatabase } from '../support/useNode.ts'

const OK = { status: 'ok', response: {} }
const refused = (reason: string) => ({ status: 'error', response: { reason } })
const EVENT = { type: 'a', payload: {} }
/** Long enough to do something with it first, on a busy machine too. */
const SOON_MS = 1500

describe('tokens on the multiplexed socket', () => {
  const database = useDatabase()
  const node = use(() => startGuardedNode(database, guests))
  const guests = new Guests()
  const clients: SocketClient[] = []

  afterEach(() => {
    for (const client of clients.splice(0)) client.close()
  })

  const token = (of: Partial<Principal> = {}) => guests.token(of)
  async function session(tenantId = 'acme'): Promise<string> {
    const id = unique()
    await node.sessions.create({ tenantId, id, title: null, metadata: '{}', creatorPrincipal: null })
    return id
  }
  async function open(of: Partial<Principal> = {}): Promise<SocketClient> {
    const client = await SocketClient.open(node.url, `vsn=2.0.0&token=${token(of)}`)
    clients.push(client)
    return client
  }
  async function answerTo(client: SocketClient, ref: string, topic: string, event: string, payload: unknown) {
    client.send(['1', ref, topic, event, payload])
    return client.reply(ref)
  }
  async function leave(client: SocketClient, joinRef: string, id: string) {
    client.send([joinRef, `leave ${id}`, `tail:${id}`, 'phx_leave', {}])
    return client.reply(`leave ${id}`)
  }
  const renewal = (client: SocketClient, ref: string, of: Partial<Principal>) =>
    answerTo(client, ref, 'phoenix', 'auth', { token: token(of) })

  for (const [what, query] of [
    ['without a token', 'vsn=2.0.0'],
    ['with an unknown one', 'vsn=2.0.0&token=nobody'],
    ['with an empty one', 'vsn=2.0.0&token='],
    ['with another end of tokens', 'vsn=2.0.0&token_end=never&token=TOKEN'],
  ])
    it(`a handshake ${what} is refused with 403 and an empty body`, async () => {
      const ws = new WebSocket(
        `${node.url.replace('http', 'ws')}/v1/socket/websocket?${query?.replace('TOKEN', token())}`,
      )
      const [, response] = await once(ws, 'unexpected-response')
      let body = ''
      for await (const chunk of response) body += chunk

      expect([response.statusCode, body]).to.deep.equal([403, ''])
    })

  it('may come as Phoenix’s sub-protocol, where no log holds it', async () => {
    const encoded = btoa(token()).replaceAll('=', '')
    const ws = new WebSocket(`${node.url.replace('http', 'ws')}/v1/socket/websocket?vsn=2.0.0`, [
      'phoenix',
      `base64url.bearer.phx.${encoded}`,
    ])
    await once(ws, 'open')
    ws.terminate()
  })

  it('say what may be joined, in the order of the contract', async () => {
    const [mine, theirs, nobody] = [await session(), await session('other'), unique()]
    const readOnly: Partial<Principal> = { scopes: new Set(['session:append']) }
    const locked: Partial<Principal> = { sessionId: mine }

    for (const [of, id, payload, reason] of [
      [{}, mine, {}, undefined],
      [{}, theirs, {}, 'session_not_found'],
      [{}, nobody, {}, 'session_not_found'],
      [{}, theirs, { cursor: 1 }, 'session_not_found'],
      [readOnly, mine, {}, 'forbidden_scope'],
      [readOnly, mine, { cursor: -1 }, 'invalid_cursor'],
      [{ ...readOnly, ...locked }, theirs, {}, 'forbidden_scope'],
      [locked, mine, {}, undefined],
      [locked, theirs, {}, 'forbidden_session'],
      [locked, nobody, { cursor: 9 }, 'forbidden_session'],
    ] as const) {
      const client = await open(of)
      expect(await client.join(`tail:${id}`, payload), JSON.stringify([id, payload])).to.deep.equal(
        reason === undefined ? OK : refused(reason),
      )
    }
  })

  it('say who appends, and whether that is allowed', async () => {
    const id = await session()
    const [lena, reader] = [await open(), await open({ scopes: new Set(['session:read']) })]
    for (const client of [lena, reader]) await client.join(`tail:${id}`, { batch_size: 10 })

    expect(await answerTo(lena, '2', `tail:${id}`, 'append', EVENT)).to.have.property('status', 'ok')
    const forbidden = (await answerTo(reader, '2', `tail:${id}`, 'append', EVENT)) as { response: object }
    const [event] = await until('the event is there', () => {
      const events = reader.events(`tail:${id}`)
      return events.length > 0 ? events : undefined
    })

    expect(forbidden.response).to.include({ error: 'forbidden_scope', required_scope: 'session:append' })
    expect(event).to.include({ seq: 1, actor: 'user:lena' })
  })

  it('end by a timer: each topic is notified and closed, the socket stays, a new token opens it again', async () => {
    const ids = [await session(), await session()]
    const end = Date.now() + SOON_MS
    const client = await open({ expiresAtMs: end })
    for (const [i, id] of ids.entries()) await client.join(`tail:${id}`, {}, `j${i}`)
    await answerTo(client, 'a', `tail:${ids[0]}`, 'append', EVENT)

    await until('both are closed', () => client.frames.filter(([, , , e]) => e === 'phx_close').length === 2)
    const told = client.frames.filter(([, , , event]) => event === 'token_expired' || event === 'phx_close')
    expect(Date.now()).to.be.at.least(end)
    expect(told).to.deep.equal(
      ids.flatMap((id, i) => [
        [`j${i}`, null, `tail:${id}`, 'token_expired', { reason: 'token_expired' }],
        [`j${i}`, `j${i}`, `tail:${id}`, 'phx_close', {}],
      ]),
    )
    expect(await client.join(`tail:${ids[0]}`, { cursor: -1 }, 'k')).to.deep.equal(refused('token_expired'))
    expect(await answerTo(client, 'b', `tail:${ids[0]}`, 'append', EVENT)).to.deep.equal(
      refused('unmatched topic'),
    )
    expect(await answerTo(client, 'h', 'phoenix', 'heartbeat', {})).to.deep.equal(OK)

    expect(await renewal(client, 'r', {})).to.deep.equal(OK)
    expect(await client.join(`tail:${ids[0]}`, { cursor: 1 }, 'l')).to.deep.equal(OK)
    expect(client.closed).to.equal(undefined)
  })

  it('end the socket with 4001 where the handshake asks for that, and no topic; renewed in place they do not', async () => {
    const id = await session()
    const openFor = async (ms: number, query = 'vsn=2.0.0&token_end=close') => {
      const client = await SocketClient.open(
        node.url,
        `${query}&token=${token({ expiresAtMs: Date.now() + ms })}`,
      )
      clients.push(client)
      await client.join(`tail:${id}`)
      return client
    }
    const [ending, renewed, other] = [
      await openFor(SOON_MS),
      await openFor(SOON_MS),
      await openFor(SOON_MS, 'vsn=2.0.0&token_end=topics'),
    ]
    expect(await renewal(renewed, 'r', {})).to.deep.equal(OK)

    await until('it is closed', () => ending.closed)
    await other.event('phx_close')

    expect(ending.closed).to.deep.equal({ code: 4001, reason: 'token_expired' })
    expect(ending.frames.map(([, , , event]) => event)).to.deep.equal(['phx_reply'])
    expect([renewed.closed, other.closed]).to.deep.equal([undefined, undefined])
    expect(await answerTo(renewed, '2', `tail:${id}`, 'append', EVENT)).to.have.property('status', 'ok')
  })

  for (const vsn of ['2.0.0', '1.0.0'] as const)
    it(`(vsn ${vsn}) end and are replaced: Phoenix’s client comes back by itself, and by default drops the topic`, async () => {
      const id = await session()
      const writer = await open()
      await writer.join(`tail:${id}`)
      const append = (ref: string) => answerTo(writer, ref, `tail:${id}`, 'append', EVENT)
      const lives = [SOON_MS, SOON_MS, 60_000]
      const fresh = () => token({ expiresAtMs: Date.now() + (lives.shift() ?? 60_000) })
      const resuming = new PhoenixTails(
        () => node.url,
        vsn,
        () => ({ token: fresh(), token_end: 'close' }),
      )
      const dropping = new PhoenixTails(
        () => node.url,
        vsn,
        () => ({
          token: token({ expiresAtMs: Date.now() + SOON_MS }),
        }),
      )
      try {
        await Promise.all([resuming.tail(id), dropping.tail(id)])
        for (const n of [1, 2, 3]) {
          await append(`a${n}`)
          await until('it has come', () => resuming.events(id).length === n)
          if (n < 3) await until('the token has ended', () => resuming.closes.length >= n)
        }

        expect(resuming.closes).to.deep.equal([4001, 4001])
        expect(resuming.faults).to.deep.equal([])
        expect(dropping.faults).to.deep.equal([`${id} was closed`])
        expect([dropping.closes, dropping.events(id).length]).to.deep.equal([[], 1])
      } finally {
        resuming.close()
        dropping.close()
      }
    })

  for (const transport of ['websocket', 'sse'] as const)
    it(`end and are replaced: a tail of the client by ${transport} goes on, and misses nothing`, async () => {
      const id = await session()
      const lives = [SOON_MS, SOON_MS]
      const given: string[] = []
      const starcite = new Starcite({
        url: node.url,
        WebSocket,
        token: () => {
          given.push(token({ expiresAtMs: Date.now() + (lives.shift() ?? 60_000) }))
          return given.at(-1) ?? ''
        },
      })
      const seqs: number[] = []
      const writer = starcite.session(id).outbox()
      for await (const { seq } of starcite.session(id).tail({
        transport,
        onConnection: ({ at }) => at === 'open' && writer.send(EVENT).catch(() => {}),
      })) {
        seqs.push(seq)
        if (seq === 3) break
      }
      await writer.close()

      expect(seqs).to.deep.equal([1, 2, 3])
      expect(given.length).to.equal(3)
    })

  it('are renewed in place: topics go on beyond the old end, to the new one', async () => {
    const id = await session()
    const [old, next] = [Date.now() + SOON_MS, Date.now() + 2 * SOON_MS]
    const client = await open({ expiresAtMs: old })
    await client.join(`tail:${id}`)

    expect(await renewal(client, '2', { expiresAtMs: next })).to.deep.equal(OK)
    let ref = 0
    while (Date.now() <= old + 100) await answerTo(client, `a${++ref}`, `tail:${id}`, 'append', EVENT)
    expect(client.frames.filter(([, , , event]) => event === 'token_expired')).to.deep.equal([])
    await client.event('token_expired')

    expect(Date.now()).to.be.at.least(next)
    expect(client.events(`tail:${id}`).map(({ seq }) => seq)).to.deep.equal(
      Array.from({ length: ref }, (_, i) => i + 1),
    )
  })

  it('are renewed only for the same tenant and subject, and by good ones', async () => {
    const id = await session()
    const client = await open()
    await client.join(`tail:${id}`)
    const unauthorized = refused('unauthorized')

    expect(await renewal(client, '2', { tenantId: 'other' })).to.deep.equal(unauthorized)
    expect(await renewal(client, '3', { actor: 'user:max' })).to.deep.equal(unauthorized)
    for (const [i, payload] of [{ token: 'nobody' }, { token: 7 }, {}, null, [], { token: '' }].entries())
      expect(await answerTo(client, `p${i}`, 'phoenix', 'auth', payload)).to.deep.equal(unauthorized)

    expect(await answerTo(client, '9', `tail:${id}`, 'append', EVENT)).to.have.property('status', 'ok')
  })

  it('that allow less from then on end what they do not allow, with a fault, so that its client hears why', async () => {
    const [kept, other] = [await session(), await session()]
    const client = await open()
    await client.join(`tail:${kept}`, {}, 'k')
    await client.join(`tail:${other}`, {}, 'o')

    expect(await renewal(client, '2', { sessionId: kept })).to.deep.equal(OK)
    expect(await client.event('phx_error')).to.deep.equal(['o', 'o', `tail:${other}`, 'phx_error', {}])
    expect(await client.join(`tail:${other}`, {}, 'p')).to.deep.equal(refused('forbidden_session'))
    expect(await answerTo(client, '3', `tail:${kept}`, 'append', EVENT)).to.have.property('status', 'ok')
  })

  it('bound the topics of their subject, which are free again when they end', async () => {
    const narrow = await startGuardedNode(database, guests, { maxTails: 2 })
    const ids = [await session(), await session(), await session()]
    const client = await SocketClient.open(narrow.url, `vsn=2.0.0&token=${token()}`)
    clients.push(client)
    for (const [i, id] of ids.slice(0, 2).entries())
      expect(await client.join(`tail:${id}`, {}, `j${i}`)).to.deep.equal(OK)

    expect(await client.join(`tail:${ids[2]}`, {}, 'j2')).to.deep.equal(refused('too_many_tails'))
    expect(await leave(client, 'j0', ids[0] ?? '')).to.deep.equal(OK)
    expect(await client.join(`tail:${ids[2]}`, {}, 'j3')).to.deep.equal(OK)
    client.close()
    const other = await SocketClient.open(narrow.url, `vsn=2.0.0&token=${token()}`)
    clients.push(other)
    await until('both are free', async () => {
      const answer = await other.join(`tail:${ids[0]}`, {}, unique('j'))
      return (answer as { status: string }).status === 'ok'
    })
    await narrow.stop()
  })

  it('end an event stream, which a browser takes up again with a new one', async () => {
    const id = await session()
    const end = Date.now() + SOON_MS
    const anybody = { authenticate: () => ({ ...ANYONE, tenantId: 'acme', expiresAtMs: end }) }
    const open = await startGuardedNode(database, anybody)
    const response = await fetch(`${open.url}/v1/sessions/${id}/tail`, {
      headers: { accept: 'text/event-stream' },
    })
    const text = await response.text() // which ends with the token

    expect([response.status, text]).to.deep.equal([200, 'retry: 1000\n'])
    expect(Date.now()).to.be.at.least(end)
    await open.stop()
  })
})
