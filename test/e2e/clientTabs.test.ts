import { expect } from 'chai'
import { Starcite } from '../../src/client/starcite.ts'
import type { Service } from '../../src/service.ts'
import { BROWSER_START_MS, hasChromium, NO_CHROMIUM } from '../support/chromium.ts'
import { call } from '../support/client.ts'
import { Issuer } from '../support/issuer.ts'
import { freePort, spawnNode, startNode } from '../support/node.ts'
import { TailsBrowser, type TailsTab } from '../support/tailsBrowser.ts'
import { until } from '../support/until.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const count = (n: number, from = 1) => Array.from({ length: n }, (_, i) => i + from)
const TABS = 8

describe('the tabs of a browser', function () {
  this.timeout(120_000)
  if (!hasChromium) {
    it(NO_CHROMIUM, function () {
      this.skip()
    })
    return
  }
  const database = useDatabase()
  const node = useNode(database)
  let writer: Starcite
  let first: TailsBrowser
  let second: TailsBrowser
  let names = 0

  before(async function () {
    this.timeout(BROWSER_START_MS)
    writer = new Starcite({ url: node.url })
    first = await TailsBrowser.start()
    second = await TailsBrowser.start()
  })
  afterEach(async () => {
    for (const browser of [first, second])
      await Promise.all(browser.context.pages().map((page) => page.close()))
  })
  after(async () => {
    await first?.stop()
    await second?.stop()
  })

  async function newSession(): Promise<string> {
    names += 1
    await writer.createSession({ id: `tabs ${names}` })
    return `tabs ${names}`
  }
  const append = (id: string, n: number, payload: object = {}) =>
    writer.session(id).appendMany(count(n).map((i) => ({ type: 't', payload: { i, ...payload } })))
  async function expectWhole(tab: TailsTab, name: string, id: string): Promise<void> {
    const texts: string[] = []
    for await (const { raw } of writer.session(id).history({ pageSize: 1000 })) texts.push(raw)
    const tail = await until(`${name} has ${texts.length} events`, async () => {
      const tail = await tab.tailOf(name)
      if (tail.failure !== undefined) throw new Error(`${name} ended: ${tail.failure}`)
      return tail.raws.length >= texts.length && tail
    })
    expect((tail as { raws: string[] }).raws).to.deep.equal(texts)
  }
  async function open(
    browser: TailsBrowser,
    id: string,
    options: Partial<Parameters<TailsTab['do']>[1] & object> & Record<string, unknown> = {},
    tail: { transport?: 'sse' | 'websocket'; silenceMs?: number } = {},
  ): Promise<TailsTab> {
    const tab = await browser.open({ url: node.url, ...options })
    await tab.do('tail', 'it', id, tail)
    return tab
  }
  const connectionsOf = async (tabs: readonly TailsTab[]): Promise<number[]> =>
    Promise.all(tabs.map((tab) => tab.connections()))
  async function leaderOf(tabs: readonly TailsTab[]): Promise<TailsTab> {
    const leads = (await connectionsOf(tabs)).findIndex((count) => count > 0)
    return tabs[leads] as TailsTab
  }

  for (const transport of ['sse', 'websocket'] as const)
    it(`have one connection: ${TABS} of them, and ${TABS} of another browser, append, and see every event, through crashes of the leading one (${transport})`, async () => {
      const id = await newSession()
      const own = await newSession()
      const tabs: TailsTab[] = []
      const others: TailsTab[] = []
      for (const _ of count(TABS)) {
        tabs.push(await open(first, id, {}, { transport }))
        others.push(await open(second, id, {}, { transport }))
      }
      const all = [...tabs, ...others]
      await Promise.all(all.map((tab) => tab.untilState('it', 'open')))
      await tabs[3]?.do('tail', 'own', own, { transport })

      const seqs = await Promise.all(all.map((tab, i) => tab.do('append', id, `from ${i}`)))
      await append(own, 3)
      expect(seqs.sort((a, b) => a - b)).to.deep.equal(count(2 * TABS))
      for (const tab of all) await expectWhole(tab, 'it', id)
      await expectWhole(tabs[3] as TailsTab, 'own', own)
      for (const browser of [tabs, others])
        expect((await connectionsOf(browser)).filter((count) => count > 0)).to.have.length(1)

      const leader = await leaderOf(tabs)
      await append(id, 5)
      await leader.page.close()
      await append(id, 5)
      const left = tabs.filter((tab) => tab !== leader)
      expect(await Promise.all(left.map((tab, i) => tab.do('append', id, `again ${i}`)))).to.have.length(
        TABS - 1,
      )
      for (const tab of [...left, ...others]) await expectWhole(tab, 'it', id)

      const next = await leaderOf(left)
      await first.crash(next)
      await append(id, 5)
      const rest = left.filter((tab) => tab !== next)
      await Promise.all(rest.map((tab) => tab.do('append', id, 'after a crash')))
      for (const tab of [...rest, ...others]) await expectWhole(tab, 'it', id)
    })

  it('replay to one that begins far back while the others stay live', async () => {
    const id = await newSession()
    const tabs = [await open(first, id), await open(first, id)]
    await Promise.all(tabs.map((tab) => tab.untilState('it', 'open')))
    for (const _ of count(3)) await append(id, 500, { x: 'x'.repeat(500) })
    for (const tab of tabs) await expectWhole(tab, 'it', id)

    const late = await open(first, id)
    await append(id, 5)

    await expectWhole(late, 'it', id)
    for (const tab of tabs) await expectWhole(tab, 'it', id)
    expect((await connectionsOf([...tabs, late])).filter((count) => count > 0)).to.have.length(1)
  })

  it('take over from one that hangs, which follows when it goes on', async () => {
    const id = await newSession()
    const tabs = [await open(first, id), await open(first, id)]
    await Promise.all(tabs.map((tab) => tab.untilState('it', 'open')))
    const leader = await leaderOf(tabs)
    const follower = tabs.find((tab) => tab !== leader) as TailsTab
    const hung = leader.page.evaluate(async () => {
      const until = Date.now() + 12_000
      while (Date.now() < until);
    })
    await append(id, 3)

    await expectWhole(follower, 'it', id)
    expect(await follower.connections()).to.be.at.least(1)
    await hung
    await append(id, 3)
    for (const tab of tabs) await expectWhole(tab, 'it', id)
  })

  it('share nothing with tabs of another principal, and nothing when told not to', async () => {
    const issuer = await Issuer.start()
    const guarded = await startNode(database, issuer.settings)
    try {
      const ann = { sub: 'user:ann', jti: 'one' }
      const tokens = [
        await issuer.token(ann),
        await issuer.token({ ...ann, jti: 'two' }),
        await issuer.token({ sub: 'user:bob' }),
        await issuer.token({ ...ann, scope: 'session:read' }),
      ]
      const headers = { authorization: `Bearer ${tokens[0]}` }
      await call('POST', `${guarded.url}/v1/sessions`, { id: 'whose' }, headers)
      const tabs: TailsTab[] = []
      for (const token of tokens) {
        const tab = await first.open({ url: guarded.url, token })
        await tab.do('tail', 'it', 'whose')
        await tab.untilState('it', 'open')
        tabs.push(tab)
      }
      const alone = await first.open({ url: guarded.url, token: tokens[0] as string, share: 'page' })
      await alone.do('tail', 'it', 'whose')
      await alone.untilState('it', 'open')

      expect(await connectionsOf([...tabs, alone])).to.deep.equal([1, 0, 1, 1, 1])
      for (const name of await alone.page.evaluate(lockNames))
        expect(name).to.match(/^starcite [0-9a-f]{64}( [0-9a-z]+)?$/)
      await tabs[0]?.do('append', 'whose', 'hello')
      for (const tab of [...tabs, alone])
        await until('it has it', async () => (await tab.tailOf('it')).raws.length === 1)
    } finally {
      await guarded.stop()
      await issuer.stop()
    }
  })

  it('are back, all of them, when their node was killed and another has its place', async () => {
    const PORT = String(await freePort())
    const dying = await spawnNode(database, { PORT })
    let next: Service | undefined
    try {
      const [one, two] = [await newSession(), await newSession()]
      const tabs: TailsTab[] = []
      for (const id of [one, two, one, two]) tabs.push(await open(first, id, { url: dying.url }))
      await Promise.all(tabs.map((tab) => tab.untilState('it', 'open')))
      await Promise.all([append(one, 3), append(two, 3)])

      await dying.kill('SIGKILL')
      await Promise.all(tabs.map((tab) => tab.untilState('it', 'waiting')))
      await Promise.all([append(one, 3), append(two, 3)])
      next = await startNode(database, { PORT })
      await Promise.all([append(one, 3), append(two, 3)])

      for (const [i, tab] of tabs.entries()) await expectWhole(tab, 'it', i % 2 ? two : one)
    } finally {
      await dying.kill('SIGKILL')
      for (const page of first.context.pages()) await page.close()
      await next?.stop()
    }
  })

  it('say at once that the browser is offline, and are back when it is', async () => {
    const id = await newSession()
    const tabs = [await open(first, id), await open(first, id)]
    await Promise.all(tabs.map((tab) => tab.untilState('it', 'open')))

    await first.context.setOffline(true)
    // Silence alone would tell after half a minute.
    await Promise.all(tabs.map((tab) => tab.untilState('it', 'waiting offline', 10_000)))
    await append(id, 3)
    await first.context.setOffline(false)

    for (const tab of tabs) await expectWhole(tab, 'it', id)
    await Promise.all(tabs.map((tab) => tab.untilState('it', 'open')))
  })

  it('fall back together to one event stream where WebSockets do not come through', async () => {
    const id = await newSession()
    const tabs: TailsTab[] = []
    for (const _ of count(TABS)) tabs.push(await open(first, id, { blocksWebSockets: true }))
    await Promise.all(tabs.map((tab) => tab.untilState('it', 'open sse')))

    const seqs = await Promise.all(tabs.map((tab, i) => tab.do('append', id, `from ${i}`)))
    expect(seqs.sort((a, b) => a - b)).to.deep.equal(count(TABS))
    for (const tab of tabs) await expectWhole(tab, 'it', id)
  })
})

/** Of the locks that are held by any page of the origin. */
async function lockNames(): Promise<string[]> {
  const { navigator } = globalThis as unknown as {
    navigator: { locks: { query(): Promise<{ held: { name: string }[] }> } }
  }
  return (await navigator.locks.query()).held.map((lock) => lock.name)
}
