import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { BrowserContext, Page } from 'playwright-core'
import { type ChromiumOnSite, startChromium } from './chromium.ts'

/** One script, with all that it imports. */
export async function bundle(name: string): Promise<string> {
  const entryPoint = fileURLToPath(new URL(name, import.meta.url))
  const { outputFiles } = await build({
    entryPoints: [entryPoint],
    bundle: true,
    format: 'esm',
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

/** Where the page's outbox keeps what is not acknowledged. */
export type OutboxStoreName = 'localStorage' | 'indexedDB'

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
    const script = `<script type="module">${await bundle('./transcriptPage.ts')}</script>`
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
    { silenceMs = '', store = 'localStorage' }: { silenceMs?: string; store?: OutboxStoreName } = {},
  ): Promise<Page> {
    const page = await this.context.newPage()
    const words = [urls.socketUrl, urls.url, session, tab, silenceMs, store]
    await page.goto(
      `${this.#chromium.site}?${new URLSearchParams(words.map((word): [string, string] => ['q', word]))}`,
    )
    return page
  }

  /** Stops every page as the lid of a laptop does, until the function that comes back is called. */
  async freeze(): Promise<() => void> {
    const devtools = await this.#chromium.browser.newBrowserCDPSession()
    const { processInfo } = await devtools.send('SystemInfo.getProcessInfo')
    const renderers = processInfo.filter((info) => info.type === 'renderer').map((info) => info.id)
    for (const pid of renderers) process.kill(pid, 'SIGSTOP')
    return () => {
      for (const pid of renderers) process.kill(pid, 'SIGCONT')
    }
  }

  async closePages(): Promise<void> {
    await Promise.all(this.context.pages().map((page) => page.close()))
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
  return page.evaluate((said) => (globalThis as unknown as TranscriptWindow).say(said), text)
}

interface WorkerWindow {
  readonly Worker: new (
    url: string,
  ) => { onmessage: (message: { data: unknown }) => void; postMessage(message: unknown): void }
}

/** What clientWorker.ts, run in a worker of the page, answers. */
export async function inWorker(page: Page, url: string, session: string): Promise<unknown> {
  return page.evaluate(
    ([script, ...message]) =>
      new Promise((resolve) => {
        const { Worker } = globalThis as unknown as WorkerWindow
        const worker = new Worker(URL.createObjectURL(new Blob([script], { type: 'text/javascript' })))
        worker.onmessage = ({ data }) => resolve(data)
        worker.postMessage(message)
      }),
    [await bundle('./clientWorker.ts'), url, session] as const,
  )
}

/** Whether an outbox of the page's origin keeps this text in its store. */
export async function isKept(page: Page, store: OutboxStoreName, text: string): Promise<boolean> {
  return JSON.stringify(
    await page.evaluate(store === 'indexedDB' ? readIndexedDb : readLocalStorage),
  ).includes(text)
}

const readLocalStorage = () =>
  Object.entries((globalThis as unknown as { localStorage: Record<string, string> }).localStorage)
    .filter(([key]) => key.startsWith('starcite.outbox '))
    .map(([, value]) => value)

/** Creates no database: opening one that does not exist would. */
async function readIndexedDb(): Promise<unknown[]> {
  const { indexedDB } = globalThis as unknown as { indexedDB: Idb }
  if (!(await indexedDB.databases()).some(({ name }) => name === 'starcite')) return []
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('starcite')
    opening.onerror = () => reject(opening.error)
    opening.onsuccess = () => {
      const all = opening.result.transaction('outbox').objectStore('outbox').getAll()
      all.onerror = () => reject(all.error)
      all.onsuccess = () => resolve(all.result)
      opening.result.close()
    }
  })
}

/** Replaces the database of the origin's outboxes by one that has no table. */
export async function emptyIndexedDb(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const { indexedDB } = globalThis as unknown as { indexedDB: Idb }
    for (const request of [() => indexedDB.deleteDatabase('starcite'), () => indexedDB.open('starcite')])
      await new Promise<void>((resolve, reject) => {
        const asked = request()
        asked.onsuccess = resolve
        asked.onerror = () => reject(asked.error)
      })
  })
}

interface IdbRequest<T> {
  readonly result: T
  readonly error: unknown
  onsuccess: () => void
  onerror: () => void
}
interface Idb {
  databases(): Promise<{ name: string }[]>
  deleteDatabase(name: string): IdbRequest<unknown>
  open(name: string): IdbRequest<{
    close(): void
    transaction(name: string): { objectStore(name: string): { getAll(): IdbRequest<unknown[]> } }
  }>
}
