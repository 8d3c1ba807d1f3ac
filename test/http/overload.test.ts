import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { type Answer, call, TailClient } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { PATIENCE_MS, timed, until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const EVENT = { type: 'a', payload: {} }

describe('a node at its bounds', () => {
  const database = useDatabase()
  const admin = useConnection(database)

  async function session(node: Service): Promise<string> {
    return (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  }

  function expectRetryLater(answer: Answer, status: number, code: string): void {
    expectError(answer, status, code)
    expect(answer.json.retry_after_ms).to.be.a('number').and.be.at.least(0)
    expect(Number(answer.headers.get('retry-after'))).to.be.at.least(1)
  }

  describe('with a full append queue', () => {
    let node: Service

    before(async () => {
      node = await startNode(database, {
        STARCITE_APPEND_QUEUE_EVENTS: '3',
        STARCITE_APPEND_CONNECTIONS: '1',
      })
    })
    after(() => node?.stop())

    /** Runs while the session is locked against appends. */
    async function whileHeld(id: string, act: () => Promise<void>): Promise<void> {
      await admin.query('begin')
      try {
        await admin.query(
          'select from starcite.session_heads h join starcite.sessions s using (sid) where s.id = $1 for update of h',
          [id],
        )
        await act()
      } finally {
        await admin.query('rollback')
      }
    }

    it('answers 429 append_backpressure with Retry-After, at once, and takes more afterwards', async () => {
      const id = await session(node)
      const answers: Answer[] = []
      let appends: Promise<unknown>[] = []

      await whileHeld(id, async () => {
        appends = Array.from({ length: 8 }, async () => {
          answers.push(await call('POST', at(node.url, id, '/append'), EVENT))
        })
        await until('all but those that wait are answered', () => answers.length === 5)

        const batch = await call('POST', at(node.url, id, '/events'), { events: [EVENT, EVENT] })
        for (const answer of [...answers, batch]) expectRetryLater(answer, 429, 'append_backpressure')
        expect((await call('GET', at(node.url, id))).status, 'reading goes on').to.equal(200)
      })

      await Promise.all(appends)
      for (const answer of answers.slice(5)) expect(answer.status, answer.text).to.equal(201)
      expect((await call('POST', at(node.url, id, '/append'), EVENT)).json).to.include({ seq: 4 })
    })

    it('answers 503 storage_unavailable for a session that another transaction holds for long, and serves the others', async () => {
      const [held, free] = [await session(node), await session(node)]

      await whileHeld(held, async () => {
        const [refused, served] = await Promise.all([
          call('POST', at(node.url, held, '/append'), EVENT),
          call('POST', at(node.url, free, '/append'), EVENT),
        ])

        expectRetryLater(refused, 503, 'storage_unavailable')
        expect(served.status, served.text).to.equal(201)
      })

      expect((await call('GET', at(node.url, held))).json.last_seq).to.equal(0)
    })
  })

  describe('whose Postgres is away', () => {
    const TIMEOUT_MS = 500
    const proxy = use(() => TcpProxy.start(database))
    let node: Service
    let id: string

    before(async () => {
      node = await startNode(proxy, { STARCITE_STORAGE_TIMEOUT: `${TIMEOUT_MS}ms` })
      id = await session(node)
    })
    after(async () => {
      proxy?.flow()
      proxy?.cut()
      await node?.stop()
    })

    const everyCall = () =>
      [
        call('POST', `${node.url}/v1/sessions`, { id: unique() }),
        call('GET', `${node.url}/v1/sessions`),
        call('GET', at(node.url, id)),
        call('PATCH', at(node.url, id), { title: 'x' }),
        call('POST', at(node.url, id, '/archive')),
        call('POST', at(node.url, id, '/append'), EVENT),
        call('POST', at(node.url, id, '/events'), { events: [EVENT] }),
        call('GET', at(node.url, id, '/events')),
      ].map((request) => timed(request))

    for (const how of ['silent', 'cut'] as const)
      it(`(${how}) answers every call with 503 storage_unavailable, in bounded time, and recovers`, async () => {
        proxy.silence()
        if (how === 'cut') proxy.cut()

        for (const { value, ms } of await Promise.all(everyCall())) {
          expectRetryLater(value, 503, 'storage_unavailable')
          expect(ms).to.be.below(PATIENCE_MS)
        }
        const ready = await timed(call('GET', `${node.url}/health/ready`))
        expect(ready.value.json).to.deep.equal({ status: 'unavailable', reason: 'database_unavailable' })
        expect(ready.ms).to.be.below(PATIENCE_MS)
        expect((await call('GET', `${node.url}/health/live`)).status).to.equal(200)
        expectError(await call('POST', at(node.url, id, '/append'), '{'), 400, 'invalid_json')

        proxy.flow()
        proxy.cut()
        await until(
          'the node recovers',
          async () => (await call('GET', `${node.url}/health/ready`)).status === 200,
        )
        expect((await call('POST', at(node.url, id, '/append'), EVENT)).status).to.equal(201)
      })

    it('says that an append may have been stored when the connection fell silent under it, and a retry is safe', async () => {
      const event = { ...EVENT, producer_id: 'p', producer_seq: 1 }
      const where = await session(node)
      proxy.silence('silent towards the client')

      const lost = await call('POST', at(node.url, where, '/append'), EVENT)
      const lostToo = await call('POST', at(node.url, where, '/append'), event)
      proxy.flow()
      proxy.cut()

      for (const answer of [lost, lostToo]) expectRetryLater(answer, 503, 'storage_unavailable')
      expect(lost.json).to.include({ outcome_unknown: true })
      const retried = await until('a retry is answered', async () => {
        const answer = await call('POST', at(node.url, where, '/append'), event)
        return answer.status === 201 ? answer : undefined
      })
      const { events } = (await call('GET', at(node.url, where, '/events'))).json
      const own = events.filter((event: { producer_id?: string }) => event.producer_id === 'p')
      expect(own.map((event: { seq: number }) => event.seq)).to.deep.equal([retried.json.seq])
    })

    it('keeps its tails, which go on when Postgres is back', async () => {
      const where = await session(node)
      await call('POST', at(node.url, where, '/append'), EVENT)
      const client = new TailClient(node.url, where, '')
      await client.until(({ frames }) => frames.length === 1)
      proxy.silence()
      proxy.cut()
      expectRetryLater(await call('POST', at(node.url, where, '/append'), EVENT), 503, 'storage_unavailable')

      proxy.flow()
      proxy.cut()
      await until(
        'an append is taken',
        async () => (await call('POST', at(node.url, where, '/append'), EVENT)).status === 201,
      )
      await client.until(({ frames }) => frames.length >= 2)

      expect(client.closed).to.equal(undefined)
      expect(client.frames.map((frame) => JSON.parse(frame).seq)).to.deep.equal(
        client.frames.map((_, i) => i + 1),
      )
      client.close()
    })
  })
})
