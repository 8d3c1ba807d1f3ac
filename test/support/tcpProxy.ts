import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What happens to bytes from now on. `silent`: they vanish, and so do goodbyes, as on a cable that was pulled. */
export type Traffic = 'flowing' | 'refused' | 'silent' | 'silent towards the client'

interface Link {
  readonly client: Socket
  readonly server: Socket
  traffic: Traffic
}

/** A TCP proxy in front of Postgres, or a node, to cut, silence and delay what passes. */
export class TcpProxy {
  #target: URL
  readonly #server: Server
  readonly #links = new Set<Link>()
  #traffic: Traffic = 'flowing'
  #accepted = 0
  #bytesToServer = 0
  /** How long bytes take, in each direction. */
  delayMs = 0
  /** How many pass in a second, of each connection in each direction. */
  bytesPerSecond = Number.POSITIVE_INFINITY

  private constructor(target: URL, server: Server) {
    this.#target = target
    this.#server = server
  }

  /** In front of the server of a URL. */
  static async start(database: { url: string }): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    const proxy = new TcpProxy(new URL(database.url), server)
    server.on('connection', (client) => proxy.#onClient(client))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  /** The same, by way of this proxy. */
  get url(): string {
    const url = new URL(this.#target)
    url.hostname = '127.0.0.1'
    url.port = String((this.#server.address() as { port: number }).port)
    return url.href
  }

  /** Connections so far. */
  get accepted(): number {
    return this.#accepted
  }

  /** What clients have sent so far. */
  get bytesToServer(): number {
    return this.#bytesToServer
  }

  get links(): number {
    return this.#links.size
  }

  /** Ends every connection, on both sides. */
  cut(): void {
    for (const { client, server } of this.#links) {
      client.destroy()
      server.destroy()
    }
  }

  /**
   * Silences the connections there are, and those to come until `flow`. They stay silent for ever, but open: neither
   * side gets an error.
   */
  silence(traffic: 'silent' | 'silent towards the client' = 'silent'): void {
    this.#traffic = traffic
    for (const link of this.#links) link.traffic = traffic
  }

  /** Ends every connection, and those to come at once. */
  refuse(): void {
    this.#traffic = 'refused'
    this.cut()
  }

  /** New connections go to another server; those there are stay where they are. */
  moveTo(database: { url: string }): void {
    this.#target = new URL(database.url)
  }

  /** New connections work again. */
  flow(): void {
    this.#traffic = 'flowing'
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  #onClient(client: Socket): void {
    this.#accepted += 1
    if (this.#traffic === 'refused') {
      client.destroy()
      return
    }
    const server = connect({
      host: this.#target.hostname,
      port: Number(this.#target.port || 5432),
      allowHalfOpen: true,
      noDelay: true,
    })
    const link: Link = { client, server, traffic: this.#traffic }
    this.#links.add(link)
    const passes = (towards: Socket) =>
      link.traffic === 'flowing' || (link.traffic === 'silent towards the client' && towards === server)
    const forward = (from: Socket, to: Socket) => {
      let [queued, freeAt] = [Promise.resolve(), 0]
      // One after the other, so their order is kept.
      const later = (act: () => void, bytes = 0) => {
        const now = performance.now()
        if (this.delayMs === 0 && this.bytesPerSecond === Number.POSITIVE_INFINITY && freeAt <= now)
          return act()
        freeAt = Math.max(freeAt, now) + (1000 * bytes) / this.bytesPerSecond
        const due = freeAt + this.delayMs
        queued = queued.then(() => sleep(Math.max(0, due - performance.now()))).then(act)
        freeAt = Math.max(freeAt, now + 1)
      }
      from.on('data', (chunk) => {
        if (to === server) this.#bytesToServer += chunk.length
        later(() => passes(to) && to.writable && to.write(chunk), chunk.length)
      })
      from.on('end', () => later(() => passes(to) && to.end()))
      from.on('error', () => {}) // followed by close
      from.on('close', () => {
        if (to.destroyed) this.#links.delete(link)
        later(() => passes(to) && to.destroy())
      })
    }
    forward(client, server)
    forward(server, client)
  }
}
