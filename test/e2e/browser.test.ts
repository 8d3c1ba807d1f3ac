import { expect } from 'chai'
import { at } from '../support/answers.ts'
import { startBrowser } from '../support/browser.ts'
import { hasChromium, NO_CHROMIUM } from '../support/chromium.ts'
import { call } from '../support/client.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { use, useEach } from '../support/use.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

/** What the pages of these tests keep in `window`. */
interface PageState {
  source: EventSource
  events: { id: string; data: string }[]
  /** Of events that are named after errors. */
  faults: string[]
  opens: number
  seqs: number[]
  closes: number[]
  answers: { seq: number }[]
}
declare const window: PageState & { Phoenix: typeof import('phoenix') }

describe('in a real browser', () => {
  if (!hasChromium) {
    it(NO_CHROMIUM, function () {
      this.skip()
    })
    return
  }
  const database = useDatabase()
  const node = useNode(database)
  const browser = use(startBrowser)
  const page = useEach(() => browser.open())
  const proxies: TcpProxy[] = []

  afterEach(async () => {
    for (const proxy of proxies.splice(0)) await proxy.stop()
  })

  async function proxied(): Promise<TcpProxy> {
    const proxy = await TcpProxy.start(node)
    proxies.push(proxy)
    return proxy
  }
  const session = async (): Promise<string> => (await call('POST', `${node.url}/v1/sessions`, {})).json.id
  const append = (id: string, ...payloads: string[]) =>
    call('POST', at(node.url, id, '/events'), `{"events":[${payloads.map(eventText).join(',')}]}`)
  const eventText = (payload: string) => `{"type":"t","payload":${payload}}`
  const numbers = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, i) => first + i)
  const received = async (count: number) => {
    await until(`${count} events`, () => page.evaluate((n) => window.events.length >= n, count))
    return page.evaluate(() => window.events)
  }
  const listen = (url: string) =>
    page.evaluate((href) => {
      window.events = []
      window.opens = 0
      window.source = new EventSource(href)
      window.source.onopen = () => {
        window.opens += 1
      }
      window.source.onmessage = ({ lastEventId, data }) => window.events.push({ id: lastEventId, data })
      window.faults = []
      window.source.addEventListener('history_damaged', (event) => {
        window.faults.push((event as Event & { data: string }).data)
      })
    }, url)

  it('an EventSource receives the exact text of each event, for payloads of every kind', async () => {
    const id = await session()
    const payloads = [
      '{"text":"a\\n\\nid: 7\\ndata: {}\\n\\n\\r\\r é🙂\u2028"}',
      '{\n\n"n"\n:\n1.0,\n"big":12345678901234567890\n}',
      '{\r\n"n":\r1}',
    ]
    await append(id, ...payloads)
    await listen(at(node.url, id, '/tail'))
    await received(3)
    await append(id, '{}')
    const events = await received(4)

    const { json } = await call('GET', at(node.url, id, '/events'))
    expect(events.map((event) => Number(event.id))).to.deep.equal([1, 2, 3, 4])
    expect(events.map((event) => JSON.parse(event.data))).to.deep.equal(json.events)
    for (const [i, payload] of payloads.entries())
      expect(events[i]?.data).to.include(`"payload":${payload.replaceAll(/\r\n?/g, '\n')}`)
  })

  it('an EventSource comes back by itself after its connection was cut, without a gap or a repeat', async () => {
    const id = await session()
    const proxy = await proxied()
    await append(id, '{}', '{}')
    await listen(at(proxy.url.replace(/\/$/, ''), id, '/tail?cursor=0'))
    await received(2)

    proxy.cut()
    await append(id, '{}', '{}')
    const events = await received(4)

    expect(events.map((event) => Number(event.id))).to.deep.equal([1, 2, 3, 4])
    expect(await page.evaluate(() => window.opens)).to.equal(2)
  })

  it('an EventSource receives a missing event as an event named for the error, and reconnects with its cursor', async () => {
    const id = await session()
    await append(id, '{}', '{}', '{}')
    const db = await connect(database)
    await db.query(
      `delete from starcite.events e using starcite.sessions s where s.id = $1 and e.sid = s.sid and e.seq = 3`,
      [id],
    )
    await db.end()
    await listen(at(node.url, id, '/tail?follow=false'))
    await received(2)
    await until('it hears why', () => page.evaluate(() => window.faults.length === 1))
    await until('it waits to come back', () =>
      page.evaluate(() => window.source.readyState === EventSource.CONNECTING),
    )

    const [events, faults] = await page.evaluate(() => [window.events, window.faults] as const)
    expect(events.map((event) => Number(event.id))).to.deep.equal([1, 2])
    expect(JSON.parse(faults[0] ?? '')).to.include({ error: 'history_damaged', seq: 3 })
  })

  for (const count of [0, 3])
    it(`an EventSource that does not follow stops after ${count} events`, async () => {
      const id = await session()
      if (count > 0) await append(id, ...Array(count).fill('{}'))
      await listen(at(node.url, id, '/tail?follow=false'))
      const CLOSED = 2
      await until('it has stopped', () => page.evaluate((n) => window.source.readyState === n, CLOSED))

      expect((await received(count)).map((message) => Number(message.id))).to.deep.equal(numbers(1, count))
    })

  it('Phoenix’s client joins, appends, and takes each session up again by its cursor after a cut', async () => {
    const id = await session()
    const proxy = await proxied()
    await append(id, '{}', '{}')
    await page.evaluate(
      ([url, topic]) => {
        Object.assign(window, { seqs: [], closes: [], answers: [] })
        const socket = new window.Phoenix.Socket(`${url}v1/socket`, {
          reconnectAfterMs: () => 50,
          rejoinAfterMs: () => 50,
        })
        socket.onClose((event) => void window.closes.push((event as { code: number }).code))
        socket.connect()
        const channel = socket.channel(topic ?? '', () => ({ cursor: window.seqs.length }))
        channel.on('events', ({ events }: { events: { seq: number }[] }) => {
          window.seqs.push(...events.map(({ seq }) => seq))
        })
        channel.join().receive('ok', () => {
          if (window.seqs.length > 2) return // joined again
          for (let n = 0; n < 20; n += 1)
            channel
              .push('append', { type: 't', payload: { n } })
              .receive('ok', (answer: { seq: number }) => window.answers.push(answer))
        })
      },
      [proxy.url.replace(/^http/, 'ws'), `tail:${id}`],
    )
    const seen = async (count: number) => {
      await until(`${count} events`, () => page.evaluate((n) => window.seqs.length >= n, count))
      return page.evaluate(() => window.seqs)
    }
    await seen(22)
    await until('all answers', () => page.evaluate(() => window.answers.length >= 20))

    proxy.cut()
    await append(id, '{}', '{}')
    const seqs = await seen(24)

    expect(await page.evaluate(() => window.answers.map(({ seq }) => seq))).to.deep.equal(numbers(3, 22))
    expect(seqs).to.deep.equal(numbers(1, 24))
    expect(await page.evaluate(() => window.closes)).to.deep.equal([1006])
  })
})
