import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

/** From Debian's package chromium. */
const CHROMIUM = '/usr/bin/chromium'
const QUIET = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const SCRIPT = fileURLToPath(new URL('./transcriptPage.ts', import.meta.url))

export const hasChromium = existsSync(CHROMIUM)

/** What transcriptPage.ts defines. */
export interface TranscriptWindow {
  readonly transcript: string[]
  readonly failure: string | undefined
  say(text: string): void
}

/** A real browser, headless, with a folder of its own, and a site whose pages run transcriptPage.ts. */
export class ClientBrowser {
  readonly context: BrowserContext
  readonly #browser: Browser
  readonly #site: string
  readonly #stop: () => Promise<void>

  private constructor(browser: Browser, context: BrowserContext, site: string, stop: () => Promise<void>) {
    this.#browser = browser
    this.context = context
    this.#site = site
    this.#stop = stop
  }

  static async start(): Promise<ClientBrowser> {
    const bundle = await build({ entryPoints: [SCRIPT], bundle: true, format: 'esm', write: false })
    const html = `<!doctype html><title>a page</title><script type="module">${bundle.outputFiles[0]?.text}</script>`
    const server = createServer((_, response) => {
      response.setHeader('Content-Type', 'text/html; charset=utf-8').end(html)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET })
    const context = await browser.newContext()
    // What tsx compiles calls this to keep the names of functions; functions that are sent to a page do too.
    await context.addInitScript('globalThis.__name = (it) => it')
    const { port } = server.address() as { port: number }
    return new ClientBrowser(browser, context, `http://127.0.0.1:${port}/`, async () => {
      await browser.close()
      server.close()
      server.closeAllConnections()
    })
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
      `${this.#site}?${new URLSearchParams([urls.socketUrl, urls.url, session, tab, silenceMs].map((it): [string, string] => ['q', it]))}`,
    )
    return page
  }

  /** Stops every page as the lid of a laptop does, until the function that comes back is called. */
  async freeze(): Promise<() => void> {
    const devtools = await this.#browser.newBrowserCDPSession()
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
    const renderers = processInfo.filter((it) => it.type === 'renderer').map((it) => it.id)
    for (const pid of renderers) process.kill(pid, 'SIGSTOP')
    return () => {
      for (const pid of renderers) process.kill(pid, 'SIGCONT')
    }
  }

  stop(): Promise<void> {
    return this.#stop()
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
