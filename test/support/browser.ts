import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { chromium, type Page } from 'playwright-core'

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
const PHOENIX = path.join(path.dirname(createRequire(import.meta.url).resolve('phoenix')), 'phoenix.min.js')

export const hasChromium = existsSync(CHROMIUM)

/** In words, for the titles of tests: a run without a browser must say so. */
export const NO_CHROMIUM =
  'NO CHROMIUM HERE, so nothing was tested in a browser (install the package chromium)'

/** A real browser, headless, with a folder of its own, and a site with empty pages on which `Phoenix` is defined. */
export interface Browser {
  open(): Promise<Page>
  stop(): Promise<void>
}

/** May take a while the first time: give the hook that calls it this much. */
export const BROWSER_START_MS = 60_000

export async function startBrowser(): Promise<Browser> {
  const script = await readFile(PHOENIX, 'utf8')
  const site = createServer((_, response) =>
    response
      .setHeader('Content-Type', 'text/html; charset=utf-8')
      .end(`<!doctype html><title>a page</title><script>${script}</script>`),
  ).listen(0, '127.0.0.1')
  await once(site, 'listening')
  const { port } = site.address() as { port: number }
  const dir = await mkdtemp(path.join(tmpdir(), 'starcite-browser-'))
  const context = await chromium.launchPersistentContext(dir, { executablePath: CHROMIUM, args: QUIET })
  // What tsx compiles calls this to keep the names of functions; functions that are sent to a page do too.
  await context.addInitScript('globalThis.__name = (it) => it')
  return {
    open: async () => {
      const page = await context.newPage()
      await page.goto(`http://127.0.0.1:${port}/`)
      return page
    },
    stop: async () => {
      await context.close()
      site.close()
      site.closeAllConnections()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
