import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { type Browser, type BrowserContext, chromium } from 'playwright-core'

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

export const hasChromium = existsSync(CHROMIUM)

/** In words, for the titles of tests: a run without a browser must say so. */
export const NO_CHROMIUM =
  'NO CHROMIUM HERE, so nothing was tested in a browser (install the package chromium)'

/** May take a while the first time: give the hook that starts one this much. */
export const BROWSER_START_MS = 60_000

/** A real browser, headless, with a profile of its own, and a site that answers every path with one page. */
export interface ChromiumOnSite {
  readonly browser: Browser
  readonly context: BrowserContext
  /** The site's URL, with a slash at its end. */
  readonly site: string
  stop(): Promise<void>
}

export async function startChromium(html: string, args: readonly string[] = []): Promise<ChromiumOnSite> {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8').end(html)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...args] })
  const context = await browser.newContext()
  // What tsx compiles calls this to keep the names of functions; functions that are sent to a page do too.
  await context.addInitScript('globalThis.__name = (it) => it')
  return {
    browser,
    context,
    site: `http://127.0.0.1:${port}/`,
    stop: async () => {
      await browser.close()
      server.close()
      server.closeAllConnections()
    },
  }
}
