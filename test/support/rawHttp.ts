import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface RawAnswer {
  readonly status: number
  readonly headers: string
  readonly body: string
}

/** A bare connection to a node, for what no HTTP client would send. */
export class RawConnection {
  readonly socket: Socket
  received = ''
  ended = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1')
    })
    socket.on('error', () => {}) // followed by close
    socket.once('close', () => {
      this.ended = true
    })
  }

  static async open(base: string): Promise<RawConnection> {
    const { hostname, port } = new URL(base)
    const socket = connect({ host: hostname, port: Number(port) })
    await once(socket, 'connect')
    return new RawConnection(socket)
  }

  send(...parts: readonly (string | Uint8Array)[]): this {
    for (const part of parts) this.socket.write(part)
    return this
  }

  /** The first `count` answers, once they are complete; fewer when the connection ends before. */
  async answers(count: number): Promise<RawAnswer[]> {
    for (;;) {
      const found = parseAnswers(this.received)
      if (found.length >= count || this.ended) return found
      await this.#change()
    }
  }

  async answer(): Promise<RawAnswer | undefined> {
    return (await this.answers(1))[0]
  }

  /** Resolves when the connection is gone. */
  async closed(): Promise<void> {
    while (!this.ended) await this.#change()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.socket.off('data', done).off('close', done)
        resolve()
      }
      this.socket.on('data', done).on('close', done)
    })
  }

  destroy(): void {
    this.socket.destroy()
  }
}

/** Answers with a Content-Length: all that a node gives. */
function parseAnswers(text: string): RawAnswer[] {
  const found: RawAnswer[] = []
  for (let at = 0; ; ) {
    const end = text.indexOf('\r\n\r\n', at)
    if (end === -1) return found
    const headers = text.slice(at, end)
    const length = Number(/^content-length: *(\d+)/im.exec(headers)?.[1] ?? 0)
    if (text.length < end + 4 + length) return found
    const body = Buffer.from(text.slice(end + 4, end + 4 + length), 'latin1').toString()
    found.push({ status: Number(headers.slice(9, 12)), headers, body })
    at = end + 4 + length
  }
}
