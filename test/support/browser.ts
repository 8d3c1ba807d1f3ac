import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import type { Page } from 'playwright-core'
import { startChromium } from './chromium.ts'

const PHOENIX = path.join(path.dirname(createRequire(import.meta.url).resolve('phoenix')), 'phoenix.min.js')

/** A real browser whose pages are empty, but for `Phoenix`, which is defined there. */
export interface Browser {
  open(): Promise<Page>
  stop(): Promise<void>
}

export async function startBrowser(): Promise<Browser> {
  const script = await readFile(PHOENIX, 'utf8')
  const { context, site, stop } = await startChromium(
    `<!doctype html><title>a page</title><script>${script}</script>`,
  )
  return {
    open: async () => {
      const page = await context.newPage()
      await page.goto(site)
      return page
    },
    stop,
  }
}
