import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { BrowserContext, Page } from 'playwright-core'
import { type ChromiumOnSite, startChromium } from './chromium.ts'

const SCRIPT = fileURLToPath(new URL('./transcriptPage.ts', import.meta.url))

/** What transcriptPage.ts defines. */
export interface TranscriptWindow {
  readonly transcript: string[]
  readonly failure: string | undefined
  say(text: string): void
}

/** A real browser whose pages run transcriptPage.ts. */
export class ClientBrowser {
  readonly #chromium: ChromiumOnSite

  private constructor(chromium: ChromiumOnSite) {
    this.#chromium = chromium
  }

  static async start(): Promise<ClientBrowser> {
    const bundle = await build({ entryPoints: [SCRIPT], bundle: true, format: 'esm', write: false })
    const script = `<script type="module">${bundle.outputFiles[0]?.text}</script>`
    return new ClientBrowser(await startChromium(`<!doctype html><title>a page</title>${script}`))
  }

  get context(): BrowserContext {
    return this.#chromium.context
  }

  /** A tab that shows a session of the node at `url`, with its WebSockets by way of `socketUrl`. Tabs share their storage. */
  async open(
    urls: { socketUrl: string; url: string },
    session: string,
    tab: string,
    silenceMs = '',
  ): Promise<Page> {
    const page = await this.context.newPage()
    await page.goto(
      `${this.#chromium.site}?${new URLSearchParams([urls.socketUrl, urls.url, session, tab, silenceMs].map((it): [string, string] => ['q', it]))}`,
    )
    return page
  }

  /** Stops every page as the lid of a laptop does, until the function that comes back is called. */
  async freeze(): Promise<() => void> {
    const devtools = await this.#chromium.browser.newBrowserCDPSession()
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
    const renderers = processInfo.filter((it) => it.type === 'renderer').map((it) => it.id)
    for (const pid of renderers) process.kill(pid, 'SIGSTOP')
    return () => {
      for (const pid of renderers) process.kill(pid, 'SIGCONT')
    }
  }

  stop(): Promise<void> {
    return this.#chromium.stop()
  }
}

/** The page's transcript, once it is `length` events long. Fails when its tail or outbox has. */
export async function transcriptOf(page: Page, length: number): Promise<string[]> {
  const handle = await page.waitForFunction(
    (wanted) => {
      const { transcript, failure } = globalThis as unknown as TranscriptWindow
      if (failure !== undefined) throw new Error(failure)
      return transcript.length >= wanted && transcript
    },
    length,
    { timeout: 20_000, polling: 20 },
  )
  return (await handle.jsonValue()) as string[]
}

export function say(page: Page, text: string): Promise<void> {
  return page.evaluate((it) => (globalThis as unknown as TranscriptWindow).say(it), text)
}
