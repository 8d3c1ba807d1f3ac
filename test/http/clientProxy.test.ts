import { once } from 'node:events'
import { createServer } from 'node:http'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import type { StarciteError } from '../../src/client/errors.ts'
import { memoryStore } from '../../src/client/outbox/store.ts'
import { Starcite } from '../../src/client/starcite.ts'
import type { TailTransport } from '../../src/client/tail/transportChoice.ts'
import { hasNginx, Nginx } from '../support/nginx.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

type Events = { content: { n: number; text?: string } }

const content = (n: number, text?: string) => ({
  type: 'content' as const,
  payload: { n, ...(text !== undefined && { text }) },
})
const count = (n: number) => Array.from({ length: n }, (_, i) => i + 1)
const KB = 1000

const rejection = (promise: Promise<unknown>): Promise<StarciteError> =>
  promise.then(
    () => expect.fail('it was not refused'),
    (error) => error,
  )

describe('the client behind what stands in between', () => {
  const database = useDatabase()
  const node = useNode(database)
  let direct: Starcite<Events>
  let made = 0

  before(async () => {
    direct = new Starcite({ url: node.url })
  })

  async function newSession(): Promise<string> {
    made += 1
    return (await direct.createSession({ id: `proxied ${made}` })).id
  }

  async function stored(id: string): Promise<number[]> {
    const numbers: number[] = []
    for await (const { payload } of direct.session(id).history()) numbers.push(payload.n ?? 0)
    return numbers
  }

  it('loses nothing to a server that redirects every request by 301, and takes no answer for its own', async () => {
    const id = await newSession()
    let isRedirecting = true
    const posts: string[] = []
    const redirector = createServer((req, res) => {
      if (isRedirecting) return res.writeHead(301, { location: `${node.url}${req.url}` }).end()
      posts.push(req.method ?? '')
      return res.writeHead(308, { location: `${node.url}${req.url}` }).end()
    }).listen(0, '127.0.0.1')
    await once(redirector, 'listening')
    const url = `http://127.0.0.1:${(redirector.address() as { port: number }).port}`
    const client = new Starcite<Events>({ url })
    const store = memoryStore()
    const failures: StarciteError[] = []
    const outbox = client.session(id).outbox({ store, onRetry: (error) => failures.push(error) })

    const sent = count(3).map((n) => outbox.send(content(n)))
    const [batch, made] = await Promise.all([
      rejection(client.session(id).appendMany([content(9)])),
      rejection(client.createSession({ id: 'never' })),
    ])
    await until('it was sent twice', () => failures.length >= 2)
    const kept = JSON.parse(
      (await store.load(`starcite.outbox ${url}/v1/sessions/${encodeURIComponent(id)}`)) ?? '',
    )
    isRedirecting = false // by 308 now, which keeps the method and the body
    const answers = await Promise.all(sent)
    await outbox.close()
    redirector.close()
    redirector.closeAllConnections()

    for (const error of [batch, made, ...failures])
      expect(error).to.include({ code: 'network_error', status: 301, retryable: true })
    expect(batch.details).to.deep.equal({ outcome_unknown: true })
    expect(kept.pending.length).to.equal(3)
    expect(answers.map((answer) => answer.seq)).to.deep.equal([1, 2, 3])
    expect(await stored(id)).to.deep.equal([1, 2, 3])
    expect(new Set(posts)).to.deep.equal(new Set(['POST']))
  })

  describe('nginx', () => {
    let nginx: Nginx
    const STATUSES = [403, 511, 522]

    before(async function () {
      if (!hasNginx()) {
        console.log('      NOT TESTED: nginx is not installed (on Debian: apt-get install nginx-light)')
        this.skip()
      }
      nginx = await Nginx.start(node.url, { maxBodySize: '256k', statuses: STATUSES })
    })
    after(() => nginx?.stop())

    it('with a bound of 256k takes 30 events of 100 KB out of a store, all but the one that is too large', async () => {
      const id = await newSession()
      const session = new Starcite<Events>({ url: nginx.url }).session(id)
      const store = memoryStore()
      const refused: StarciteError[] = []
      const outbox = session.outbox({ store, onRefused: (error) => refused.push(error) })
      const sizes = count(30).map((n) => (n === 12 ? 300 * KB : 100 * KB))

      const sent = sizes.map((size, i) => outbox.send(content(i + 1, 'x'.repeat(size))))
      const outcomes = await Promise.allSettled(sent)
      await outbox.close()
      const next = session.outbox({ store })
      await next.send(content(31))
      await next.close()

      const others = count(31).filter((n) => n !== 12)
      expect(await stored(id)).to.deep.equal(others)
      expect(outcomes.flatMap((outcome, i) => (outcome.status === 'rejected' ? i + 1 : []))).to.deep.equal([
        12,
      ])
      expect(refused.map(({ code, status }) => [code, status])).to.deep.equal([['body_too_large', 413]])
      expect(refused[0]?.details).to.include({ refused_by: 'intermediary' })
      expect(refused[0]?.details.bytes).to.be.within(300 * KB, 301 * KB)
      expect(refused[0]?.message).to.match(/with 300\d{3} bytes is too large for an intermediary/)
    })

    it('refuses a batch that is too large by name of its size', async () => {
      const id = await newSession()
      const events = count(30).map((n) => content(n, 'x'.repeat(100 * KB)))

      const error = await rejection(new Starcite<Events>({ url: nginx.url }).session(id).appendMany(events))

      expect(error).to.include({ code: 'body_too_large', status: 413, retryable: false })
      expect(error.message).to.match(/with 300\d{4} bytes is too large for an intermediary/)
      expect(await stored(id)).to.deep.equal([])
    })

    it('answers by itself for a while: the outbox and tails wait, and say for what', async () => {
      const id = await newSession()
      const client = new Starcite<Events>({ url: nginx.url, WebSocket })
      const [retries, ...waits] = [[], [], []] as number[][]
      await nginx.answer(STATUSES[0])
      const tails = (['websocket', 'sse'] as TailTransport[]).map((transport, i) =>
        client.session(id).tail({
          transport,
          onConnection: (state) => state.at === 'waiting' && waits[i]?.push(state.error.status),
        }),
      )
      const outbox = client.session(id).outbox({ onRetry: ({ status }) => retries?.push(status) })

      const firsts = tails.map((tail) => tail.next())
      const sent = outbox.send(content(1))
      for (const status of STATUSES) {
        await nginx.answer(status)
        await until(`all have heard ${status}`, () =>
          [retries, ...waits].every((list) => list?.includes(status)),
        )
      }
      const plain = await rejection(client.getSession(id))
      await nginx.answer(undefined)

      expect(plain).to.include({ code: 'network_error', status: STATUSES.at(-1), retryable: true })
      expect((await sent).seq).to.equal(1)
      for (const first of firsts) expect((await first).value?.seq).to.equal(1)
      await Promise.all(tails.map((tail) => tail.return()))
      await outbox.close()
      expect(await stored(id)).to.deep.equal([1])
    })
  })
})
