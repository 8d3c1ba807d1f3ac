import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { WebSocket } from 'ws'
import { Starcite } from '../../src/client/starcite.ts'
import { hasChromium, NO_CHROMIUM } from '../support/chromium.ts'
import {
  ClientBrowser,
  emptyIndexedDb,
  inWorker,
  isKept,
  type OutboxStoreName,
  say,
  type TranscriptWindow,
  transcriptOf,
} from '../support/clientBrowser.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const count = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

describe('a browser page that uses the client', function () {
  this.timeout(120_000)
  if (!hasChromium) {
    it(NO_CHROMIUM, function () {
      this.skip()
    })
    return
  }
  const database = useDatabase()
  const node = useNode(database)
  const proxy = use(() => TcpProxy.start({ url: node.url }))
  let browser: ClientBrowser
  let urls: { socketUrl: string; url: string }
  let writer: Starcite<{ said: { text: string } }>

  before(async () => {
    urls = { socketUrl: proxy.url.replace(/\/$/, ''), url: node.url }
    writer = new Starcite({ url: node.url, WebSocket })
    browser = await ClientBrowser.start()
  })
  afterEach(() => browser?.closePages())
  after(async () => {
    await browser?.stop()
  })

  const append = (id: string, n: number) =>
    writer.session(id).appendMany(count(n).map((i) => ({ type: 'said', payload: { text: `token ${i}` } })))

  async function stored(id: string): Promise<{ texts: string[]; said: string[] }> {
    const [texts, said]: [string[], string[]] = [[], []]
    for await (const event of writer.session(id).history({ pageSize: 1000 })) {
      texts.push(event.raw)
      if (event.actor.startsWith('user:') && !event.redacted) said.push(event.payload.text)
    }
    return { texts, said }
  }

  async function newSession(id: string): Promise<string> {
    await writer.createSession({ id })
    return id
  }

  /** What a page said survives a reload from when its store has it: the outbox opens that first, which takes a moment. */
  const untilKept = (page: Page, id: string, text: string, store: OutboxStoreName = 'localStorage') =>
    until(`"${text}" is in the store, or acknowledged`, async () => {
      return (await isKept(page, store, text)) || (await stored(id)).said.includes(text)
    })

  async function expectWhole(page: Page, id: string): Promise<void> {
    const { texts } = await stored(id)
    const transcript = await transcriptOf(page, texts.length)
    expect(transcript).to.deep.equal(texts)
    expect(transcript.map((text) => JSON.parse(text).seq)).to.deep.equal(count(texts.length))
  }

  it('keeps its transcript whole, and says each thing once, over reloads in mid-stream', async () => {
    const id = await newSession('reload')
    const page = await browser.open(urls, id, 'one')
    let streaming = true
    const stream = (async () => {
      while (streaming) await append(id, 3)
    })()

    for (const n of count(4)) {
      const { length } = await transcriptOf(page, 1)
      await say(page, `said ${n}`)
      await untilKept(page, id, `said ${n}`)
      await page.reload() // its request may be on the way, or not yet
      await transcriptOf(page, length + 10)
    }
    await say(page, 'said 5')
    await page.waitForFunction(() =>
      (globalThis as unknown as TranscriptWindow).transcript.some((text) => text.includes('"said 5"')),
    )
    streaming = false
    await stream

    await expectWhole(page, id)
    expect((await stored(id)).said).to.deep.equal(count(5).map((n) => `said ${n}`))
  })

  it('goes on after it was offline, with what was appended and what it said meanwhile', async () => {
    const id = await newSession('offline')
    const page = await browser.open(urls, id, 'one')
    await append(id, 5)
    await transcriptOf(page, 5)

    await browser.context.setOffline(true)
    proxy.silence() // as when the network is gone: neither side gets an error
    await append(id, 5)
    await say(page, 'from the tunnel')
    proxy.flow()
    await browser.context.setOffline(false)

    const transcript = await transcriptOf(page, 11)
    expect(transcript.filter((text) => text.includes('from the tunnel')).length).to.equal(1)
    await expectWhole(page, id)
  })

  it('says after a reload what IndexedDB has kept, once and in order', async () => {
    const id = await newSession('kept')
    const page = await browser.open(urls, id, 'one', { store: 'indexedDB' })
    await page.route('**/events', (route) => route.abort())
    await say(page, 'kept 1')
    await say(page, 'kept 2')
    await until('both are in IndexedDB', () => isKept(page, 'indexedDB', 'kept 2'))
    expect((await stored(id)).said).to.deep.equal([])

    await page.reload()
    await page.unroute('**/events')
    await say(page, 'said 3')

    await transcriptOf(page, 3)
    expect((await stored(id)).said).to.deep.equal(['kept 1', 'kept 2', 'said 3'])
    await expectWhole(page, id)
  })

  it('keeps events in IndexedDB although another script has created the database without a table', async () => {
    const id = await newSession('empty database')
    await emptyIndexedDb(await browser.open(urls, id, 'one'))
    await browser.closePages()
    const page = await browser.open(urls, id, 'one', { store: 'indexedDB' })
    await page.route('**/events', (route) => route.abort())
    await say(page, 'kept')
    await until('it is in IndexedDB', () => isKept(page, 'indexedDB', 'kept'))

    await page.reload()
    await page.unroute('**/events')

    await transcriptOf(page, 1)
    expect((await stored(id)).said).to.deep.equal(['kept'])
  })

  it('says once, and only to the node, what redirects, a sign-in page and a firewall stood in the way of', async () => {
    const id = await newSession('in between')
    const page = await browser.open(urls, id, 'one')
    const headers = { 'access-control-allow-origin': '*' }
    const answers = [
      { status: 301, headers: { ...headers, location: `${node.url}/v1/sessions` } },
      { status: 200, headers, body: '<html>sign in</html>' },
      { status: 200, headers, body: '{"events":[],"next_cursor":0,"last_seq":0}' },
      { status: 403, headers, body: '<html>no</html>' },
    ]
    let hits = 0
    await page.route('**/events', (route) => {
      hits += 1
      return route.fulfill(answers[(hits - 1) % answers.length] ?? {})
    })
    await say(page, 'in spite of all')
    await until('each has answered', () => hits > answers.length)
    expect((await stored(id)).said).to.deep.equal([])

    await page.unroute('**/events')

    await transcriptOf(page, 1)
    expect((await stored(id)).said).to.deep.equal(['in spite of all'])
  })

  it('works in a worker of the page, with IndexedDB', async () => {
    const id = await newSession('worker')
    const page = await browser.open(urls, id, 'one')

    const answer = await inWorker(page, node.url, id)

    const { texts, said } = await stored(id)
    expect(answer).to.deep.equal(texts)
    expect(said).to.deep.equal(['hello', 'from a worker'])
  })

  it('shows the same in two tabs that both speak', async () => {
    const id = await newSession('tabs')
    const tabs = await Promise.all(
      ['one', 'two'].map((tab) => browser.open(urls, id, tab, { store: 'indexedDB' })),
    )

    for (const n of count(5)) await Promise.all(tabs.map((page, i) => say(page, `tab ${i}: ${n}`)))
    await untilKept(tabs[0] as Page, id, 'tab 0: 5', 'indexedDB')
    await tabs[0]?.reload()
    await append(id, 5)

    for (const page of tabs) {
      await transcriptOf(page, 15)
      await expectWhole(page, id)
    }
    const { said } = await stored(id)
    for (const i of [0, 1])
      expect(said.filter((text) => text.startsWith(`tab ${i}`))).to.deep.equal(
        count(5).map((n) => `tab ${i}: ${n}`),
      )
  })

  it('catches up when it wakes from being frozen, its connections dead', async () => {
    const id = await newSession('frozen')
    const page = await browser.open(urls, id, 'one', { silenceMs: '1000' })
    await append(id, 5)
    await transcriptOf(page, 5)
    const wake = await browser.freeze()
    proxy.silence()
    await append(id, 5)
    proxy.flow()
    wake()

    await expectWhole(page, id)
  })
})
