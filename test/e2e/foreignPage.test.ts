import { expect } from 'chai'
import type { Page } from 'playwright-core'
import { at, unique } from '../support/answers.ts'
import { BROWSER_START_MS, hasChromium, NO_CHROMIUM, startChromium } from '../support/chromium.ts'
import { call } from '../support/client.ts'
import { use } from '../support/use.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

/** The attacks of a page, run in it; each answers what it got. */
function attack(page: Page, base: string, id: string): Promise<Record<string, string>> {
  return page.evaluate(
    async ({ base, id }) => {
      const session = `${base}/v1/sessions/${id}`
      const tried = async (work: () => Promise<unknown>) =>
        work().then(
          (result) => `${result}`,
          (error) => `${error}`,
        )
      /** A request as a form or an image sends it: without preflight. */
      const blindly = (path: string, body?: Blob) =>
        tried(() =>
          fetch(session + path, { method: 'POST', mode: 'no-cors', ...(body ? { body } : {}) }).then(
            () => 'sent',
          ),
        )
      const firstOf = (source: EventTarget) =>
        new Promise((resolve) => {
          for (const name of ['message', 'open', 'error', 'close'])
            source.addEventListener(name, () => resolve(name))
        })
      return {
        read: await tried(async () => (await fetch(`${session}/events`)).text()),
        append: await blindly('/append', new Blob(['{"type":"evil","payload":{}}'])),
        redact: await blindly('/events/1/redact'),
        archive: await blindly('/archive'),
        socket: await tried(() => firstOf(new WebSocket(`${session.replace('http', 'ws')}/tail`))),
        phoenix: await tried(() =>
          firstOf(new WebSocket(`${base.replace('http', 'ws')}/v1/socket/websocket?vsn=2.0.0`)),
        ),
        stream: await tried(() => firstOf(new EventSource(`${session}/tail`))),
      }
    },
    { base, id },
  )
}

describe('a foreign page in a real browser, at a node without tokens', function () {
  if (!hasChromium) it(NO_CHROMIUM)
  if (!hasChromium) return
  this.timeout(BROWSER_START_MS)
  const database = useDatabase()
  const node = useNode(database)
  const chromium = use(() =>
    startChromium('<!doctype html><title>evil</title>', [
      '--host-resolver-rules=MAP *.example 127.0.0.1',
      '--disable-features=BlockInsecurePrivateNetworkRequests,LocalNetworkAccessChecks,PrivateNetworkAccessSendPreflights',
    ]),
  )
  let id: string

  beforeEach(async () => {
    id = (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
    await call('POST', at(node.url, id, '/append'), { type: 'a', payload: { text: 'secret' } })
  })

  async function open(url: string): Promise<Page> {
    const page = await chromium.context.newPage()
    await page.goto(url)
    return page
  }
  async function expectUntouched(tried: Record<string, string>): Promise<void> {
    expect(tried.read).not.to.include('secret')
    expect([tried.socket, tried.phoenix, tried.stream]).to.deep.equal(['error', 'error', 'error'])
    const { events } = (await call('GET', at(node.url, id, '/events'))).json
    expect(events.map((event: { payload: object }) => event.payload)).to.deep.equal([{ text: 'secret' }])
    expect((await call('GET', at(node.url, id))).json).to.include({ archived: false, last_seq: 1 })
  }

  it('of another site: nothing is written, redacted, read or opened', async () => {
    const site = chromium.site.replace('127.0.0.1', 'evil.example')
    const tried = await attack(await open(site), node.url, id)

    expect([tried.append, tried.redact, tried.archive]).to.deep.equal(['sent', 'sent', 'sent'])
    await expectUntouched(tried)
  })

  it('whose own name points to the node (DNS rebinding): the same', async () => {
    const rebound = node.url.replace('127.0.0.1', 'evil.example')
    // What the name pointed to before: the page is there, and its origin is the node's.
    await chromium.context.route(`${rebound}/`, (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>evil</title>' }),
    )

    await expectUntouched(await attack(await open(`${rebound}/`), rebound, id))
  })

  it('is distinguished from one of this machine, which works', async () => {
    const tried = await attack(await open(chromium.site), node.url, id)

    expect(tried.read).to.include('secret')
    expect([tried.socket, tried.phoenix, tried.stream]).to.deep.equal(['open', 'open', 'open'])
  })
})
