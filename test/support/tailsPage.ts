import { Starcite } from '../../src/client/starcite.ts'
import type { Sharing } from '../../src/client/tail/connections.ts'
import type { TailOptions, TailState } from '../../src/client/tail/tail.ts'
import type { WebSocketConstructor } from '../../src/client/tail/webSocketLink.ts'

/** What a page has read of one session. */
export interface PageTail {
  readonly raws: string[]
  readonly states: string[]
  failure: string | undefined
}

/** What this script, which runs in a page of a browser, lets a test do. */
export interface TailsWindow {
  start(options: { url: string; token?: string; share?: Sharing; blocksWebSockets?: boolean }): void
  tail(name: string, id: string, options?: TailOptions): void
  stop(name: string): void
  append(id: string, text: string): Promise<number>
  readonly tails: Record<string, PageTail>
  /** Connections that this page has opened for tails. */
  connections: number
  readonly WebSocket: WebSocketConstructor
}
const page = globalThis as unknown as { -readonly [Name in keyof TailsWindow]: TailsWindow[Name] }

let client: Starcite
const aborts = new Map<string, AbortController>()

class CountedSocket extends page.WebSocket {
  constructor(url: string) {
    super(url)
    page.connections += 1
  }
}
class BlockedSocket extends page.WebSocket {
  constructor() {
    super('ws://127.0.0.1:9')
  }
}

const textOf = (state: TailState) =>
  state.at === 'open' ? `open ${state.transport}` : `waiting ${state.error.code}`

page.tails = {}
page.connections = 0
page.start = ({ blocksWebSockets, ...options }) => {
  client = new Starcite({
    ...options,
    WebSocket: blocksWebSockets ? BlockedSocket : CountedSocket,
    fetch: (url, init) => {
      if (String((init.headers as Record<string, string>).accept).includes('event-stream'))
        page.connections += 1
      return fetch(url, init)
    },
  })
}
page.tail = (name, id, options = {}) => {
  const tail: PageTail = { raws: [], states: [], failure: undefined }
  const abort = new AbortController()
  page.tails[name] = tail
  aborts.set(name, abort)
  const onConnection = (state: TailState) => tail.states.push(textOf(state))
  const read = async () => {
    for await (const { raw } of client.session(id).tail({ ...options, onConnection, signal: abort.signal }))
      tail.raws.push(raw)
  }
  read().catch((error) => {
    tail.failure = String(error.code ?? error)
  })
}
page.stop = (name) => aborts.get(name)?.abort()
page.append = async (id, text) => (await client.session(id).append({ type: 'said', payload: { text } })).seq
