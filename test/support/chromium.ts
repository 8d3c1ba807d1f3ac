import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Browser, BrowserContext } from 'playwright-core'
import { PATIENCE_MS } from './until.ts'

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

/** In words, for the titles of tests: a run without a browser must show in the report. */
export const NO_CHROMIUM =
  'NO CHROMIUM HERE, so nothing was tested in a browser (install the package chromium)'

/** May take a while the first time: give the hook that starts one this much. */
export const BROWSER_START_MS = 60_000

/** A profile of a real, headless browser, and a site that answers every path with one page. */
export interface ChromiumOnSite {
  readonly browser: Browser
  /** The profile: it shares no storage, locks, channels or connections with the others. */
  readonly context: BrowserContext
  /** The site's URL, with a slash at its end. */
  readonly site: string
  stop(): Promise<void>
}

/** The browsers of this process by their arguments: starting one costs more than most tests that need it. */
const browsers = new Map<string, Promise<Browser>>()

export async function startChromium(html: string, args: readonly string[] = []): Promise<ChromiumOnSite> {
  const server = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8').end(html)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const browser = await sharedBrowser(args)
  const context = await browser.newContext()
  context.setDefaultTimeout(PATIENCE_MS)
  // What tsx compiles calls this to keep the names of functions; functions that are sent to a page do too.
  await context.addInitScript('globalThis.__name = (named) => named')
  return {
    browser,
    context,
    site: `http://127.0.0.1:${port}/`,
    stop: async () => {
      await context.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

function sharedBrowser(args: readonly string[]): Promise<Browser> {
  const key = args.join(' ')
  const browser = browsers.get(key) ?? launch(args)
  browsers.set(key, browser)
  return browser
}

/** Playwright is loaded here, because every process of tests imports this file and few of them start a browser. */
async function launch(args: readonly string[]): Promise<Browser> {
  const { chromium } = await import('playwright-core')
  return chromium.launch({ executablePath: CHROMIUM, args: [...QUIET, ...args] })
}

/** Ends the browsers of this process. */
export async function stopChromium(): Promise<void> {
  const started = [...browsers.values()]
  browsers.clear()
  await Promise.all(started.map(async (server) => (await server).close()))
}
