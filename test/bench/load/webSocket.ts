import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const TEXT = 1
const CLOSE = 8
const PING = 9
/** A masked pong without content. The mask may be anything: there is nothing to mask. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
const CLOSED = Buffer.from([0x88, 0x80, 0, 0, 0, 0])

export interface Listener {
  /** One text frame, a view of what was received. */
  text(frame: Buffer): void
  /** Once: the server said goodbye with a code, or the connection is gone. */
  closed(code: number | undefined): void
}

/** Any will do, but zeros, which a server need not apply. */
const MASK = Buffer.from([0x5a, 0xc3, 0x17, 0xe8])

/** A text frame as clients send it. */
export function maskedText(text: string): Buffer {
  const payload = Buffer.from(text)
  const { length } = payload
  if (length > 0xffff) throw new Error('longer frames are not needed here')
  const head = length < 126 ? [0x81, 0x80 | length] : [0x81, 0x80 | 126, length >> 8, length & 0xff]
  for (let i = 0; i < length; i++) payload[i]! ^= MASK[i % 4]!
  return Buffer.concat([Buffer.from(head), MASK, payload])
}

/** A WebSocket that reads, on a bare socket: what a thousand of them cost is then the server's cost. */
export class WebSocketReader {
  readonly #socket: Socket
  readonly #listener: Listener
  #pending: Buffer | undefined
  #isClosed = false

  private constructor(socket: Socket, listener: Listener) {
    this.#socket = socket
    this.#listener = listener
  }

  static async open(port: number, path: string, listener: Listener): Promise<WebSocketReader> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const key = randomBytes(16).toString('base64')
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    )
    const rest = await upgraded(socket)
    const reader = new WebSocketReader(socket, listener)
    socket.on('data', (chunk) => reader.#take(chunk))
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => reader.#closed(undefined))
    if (rest.length > 0) reader.#take(rest)
    return reader
  }

  /** Frames as maskedText makes them; those of one turn of the event loop leave together. */
  write(frames: Buffer): void {
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    this.#socket.write(frames)
  }

  close(): void {
    this.#isClosed = true
    this.#socket.destroy()
  }

  #closed(code: number | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.end(CLOSED)
    this.#listener.closed(code)
  }

  #take(chunk: Buffer): void {
    const data = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk])
    this.#pending = undefined
    let at = 0
    while (at < data.length) {
      const frame = frameAt(data, at)
      if (frame === undefined) {
        this.#pending = data.subarray(at)
        return
      }
      at = frame.end
      if (frame.opcode === TEXT) this.#listener.text(data.subarray(frame.start, frame.end))
      else if (frame.opcode === PING) this.#socket.write(PONG)
      else if (frame.opcode === CLOSE) this.#closed(data.readUInt16BE(frame.start))
      else throw new Error(`a frame with opcode ${frame.opcode}`)
    }
  }
}

/** Where the frame at `at` begins and ends, or undefined when it is not all there. See RFC 6455, 5.2. */
function frameAt(data: Buffer, at: number): { opcode: number; start: number; end: number } | undefined {
  if (data.length < at + 2) return undefined
  let length = data[at + 1]! & 0x7f
  let start = at + 2
  if (length === 126) {
    if (data.length < at + 4) return undefined
    length = data.readUInt16BE(at + 2)
    start = at + 4
  } else if (length === 127) {
    if (data.length < at + 10) return undefined
    length = Number(data.readBigUInt64BE(at + 2))
    start = at + 10
  }
  const end = start + length
  return end > data.length ? undefined : { opcode: data[at]! & 0x0f, start, end }
}

/** Waits for 101; what follows it in the same chunk is frames already. */
async function upgraded(socket: Socket): Promise<Buffer> {
  let received = Buffer.alloc(0)
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    received = Buffer.concat([received, chunk])
    const head = received.indexOf('\r\n\r\n')
    if (head < 0) continue
    const status = received.toString('latin1', 0, head)
    if (!status.startsWith('HTTP/1.1 101')) throw new Error(`a tail was answered ${received.toString()}`)
    return received.subarray(head + 4)
  }
}
