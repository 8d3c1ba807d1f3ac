import type { Page } from 'playwright-core'
import { type ChromiumOnSite, startChromium } from './chromium.ts'
import { bundle } from './clientBrowser.ts'
import type { PageTail, TailsWindow } from './tailsPage.ts'
import { until } from './until.ts'

type Start = Parameters<TailsWindow['start']>[0]
type Call = 'start' | 'tail' | 'stop' | 'append'

/** A tab that runs tailsPage.ts. */
export class TailsTab {
  readonly page: Page

  constructor(page: Page) {
    this.page = page
  }

  /** Calls a function of the page. */
  async do<Name extends Call>(
    name: Name,
    ...words: Parameters<TailsWindow[Name]>
  ): Promise<Awaited<ReturnType<TailsWindow[Name]>>> {
    return (await this.page.evaluate(
      // biome-ignore lint/suspicious/noExplicitAny: what is called differs
      ([name, list]) => (globalThis as any)[name](...list),
      [name, words as unknown[]] as const,
    )) as Awaited<ReturnType<TailsWindow[Name]>>
  }

  tailOf(name: string): Promise<PageTail> {
    return this.page.evaluate(
      (tailName) => (globalThis as unknown as TailsWindow).tails[tailName] as PageTail,
      name,
    )
  }

  /** How many connections it has opened for tails. */
  connections(): Promise<number> {
    return this.page.evaluate(() => (globalThis as unknown as TailsWindow).connections)
  }

  async untilState(name: string, state: string, timeoutMs?: number): Promise<void> {
    const isIn = async () => {
      const { states, failure } = await this.tailOf(name)
      if (failure !== undefined) throw new Error(`${name} ended: ${failure}`)
      return states.at(-1)?.startsWith(state)
    }
    await until(`${name} is ${state}`, isIn, timeoutMs)
  }
}

/** A profile of a real browser; its tabs share what tabs share. */
export class TailsBrowser {
  readonly #chromium: ChromiumOnSite

  private constructor(chromium: ChromiumOnSite) {
    this.#chromium = chromium
  }

  static async start(): Promise<TailsBrowser> {
    const script = `<script type="module">${await bundle('./tailsPage.ts')}</script>`
    return new TailsBrowser(await startChromium(`<!doctype html><title>tails</title>${script}`))
  }

  get context() {
    return this.#chromium.context
  }

  async open(options: Start): Promise<TailsTab> {
    const page = await this.#chromium.context.newPage()
    await page.goto(this.#chromium.site)
    const tab = new TailsTab(page)
    await page.waitForFunction(() => (globalThis as unknown as TailsWindow).start !== undefined)
    await tab.do('start', options)
    return tab
  }

  /** Ends the renderer of a tab as a crash does. */
  async crash(tab: TailsTab): Promise<void> {
    const crashed = tab.page.waitForEvent('crash')
    void tab.page.goto('chrome://crash').catch(() => {})
    await crashed
  }

  stop(): Promise<void> {
    return this.#chromium.stop()
  }
}
