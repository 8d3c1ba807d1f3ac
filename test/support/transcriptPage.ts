import { indexedDbStore } from '../../src/client/outbox/indexedDbStore.ts'
import { localStorageStore } from '../../src/client/outbox/store.ts'
import { Starcite } from '../../src/client/starcite.ts'
import type { WebSocketConstructor } from '../../src/client/tail/webSocketLink.ts'

/**
 * The script of a page as an application would have it: it shows a session, keeps what it has shown over reloads, and
 * says things by an outbox that survives them too. Runs in the browser.
 */
interface Window {
  transcript: string[]
  failure: string | undefined
  say: (text: string) => void
  readonly WebSocket: WebSocketConstructor
  readonly localStorage: { getItem(key: string): string | null; setItem(key: string, value: string): void }
  readonly location: { search: string }
}
const page = globalThis as unknown as Window

const query = new URLSearchParams(page.location.search)
const [socketUrl = '', url = '', id = '', tab = '', silenceMs = '', store = ''] = query.getAll('q')
const key = `transcript ${id} ${tab}`
/** The way of WebSockets, which a test cuts and silences, is not that of requests. */
class ElsewhereSocket extends page.WebSocket {
  constructor(target: string) {
    super(target.replace(url.replace('http', 'ws'), socketUrl.replace('http', 'ws')))
  }
}

const session = new Starcite<{ said: { text: string } }>({ url, WebSocket: ElsewhereSocket }).session(id)
const outbox = session.outbox({ store: store === 'indexedDB' ? indexedDbStore() : localStorageStore() })

page.transcript = JSON.parse(page.localStorage.getItem(key) ?? '[]')
page.say = (text) => {
  outbox.send({ type: 'said', payload: { text }, actor: `user:${tab}` }).catch(fail)
}

function fail(error: unknown): void {
  page.failure = String(error)
}

async function show(): Promise<void> {
  const cursor = page.transcript.length
  for await (const event of session.tail({ cursor, ...(silenceMs && { silenceMs: Number(silenceMs) }) })) {
    page.transcript.push(event.raw)
    page.localStorage.setItem(key, JSON.stringify(page.transcript))
  }
}

show().catch(fail)
