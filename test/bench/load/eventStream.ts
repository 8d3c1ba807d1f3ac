import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Listener } from './webSocket.ts'

const DATA = '\ndata: '

/**
 * An event stream, read from a bare socket. What stands between the chunks of the body is passed over: a node writes
 * whole events, each with its data in one line.
 */
export class EventStreamReader {
  readonly #socket: Socket
  readonly #listener: Listener
  /** Latin-1: a character is a byte. */
  #pending = ''
  #isClosed = false

  private constructor(socket: Socket, listener: Listener) {
    this.#socket = socket
    this.#listener = listener
  }

  static async open(port: number, path: string, listener: Listener): Promise<EventStreamReader> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`)
    const [head] = (await once(socket, 'data')) as [Buffer]
    if (!head.toString('latin1').startsWith('HTTP/1.1 200'))
      throw new Error(`a stream was answered ${head.toString()}`)
    const reader = new EventStreamReader(socket, listener)
    socket.on('data', (chunk) => reader.#take(chunk))
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => reader.#closed())
    reader.#take(head)
    return reader
  }

  close(): void {
    this.#isClosed = true
    this.#socket.destroy()
  }

  #closed(): void {
    if (!this.#isClosed) this.#listener.closed(undefined)
  }

  #take(chunk: Buffer): void {
    this.#pending += chunk.toString('latin1')
    for (;;) {
      const start = this.#pending.indexOf(DATA)
      const end = start < 0 ? -1 : this.#pending.indexOf('\n\n', start)
      if (end < 0) break
      this.#listener.text(Buffer.from(this.#pending.slice(start + DATA.length, end), 'latin1'))
      this.#pending = this.#pending.slice(end)
    }
  }
}
