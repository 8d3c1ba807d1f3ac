import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const SEQ = /\{"seq":(\d+),/g
const PING = '\x89\x00'
/** Masked, as a client's frames are. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
const OPENED = 'HTTP/1.1 101'

interface Member {
  readonly socket: Socket
  isOpen: boolean
  /** Status of a handshake that was refused. */
  refused: number | undefined
  cursor: number
  closed: boolean
  rest: string
}

/** Very many raw tails on one session, each a bare socket that remembers little more than where it is. */
export class TailCrowd {
  readonly members: Member[] = []
  readonly faults: string[] = []

  /** Opens all at once; resolves when each has its answer, or its end. */
  async open(base: string, session: string, cursors: readonly number[]): Promise<void> {
    await Promise.all(cursors.map((cursor) => this.#openOne(new URL(base), session, cursor)))
  }

  get openCount(): number {
    return this.members.filter(({ isOpen, closed }) => isOpen && !closed).length
  }

  /** From now on takes nothing off its connections. */
  stopReading(): void {
    for (const { socket } of this.members) socket.pause()
  }

  haveAll(seq: number): boolean {
    return this.members.every(({ cursor, closed }) => closed || cursor >= seq)
  }

  destroy(): void {
    for (const { socket } of this.members) socket.destroy()
  }

  async #openOne({ hostname, port }: URL, session: string, cursor: number): Promise<void> {
    const socket = connect({ host: hostname, port: Number(port) })
    const member: Member = { socket, isOpen: false, refused: undefined, cursor, closed: false, rest: '' }
    this.members.push(member)
    socket.on('error', () => {}) // followed by close
    socket.on('close', () => {
      member.closed = true
    })
    socket.on('data', (chunk) => this.#take(member, chunk.toString('latin1')))
    socket.write(
      `GET /v1/sessions/${session}/tail?cursor=${cursor} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n` +
        'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    await Promise.race([once(socket, 'data'), once(socket, 'close')]).catch(() => {})
  }

  /** Every frame of these tails is an event, and every event begins with its seq. */
  #take(member: Member, chunk: string): void {
    const text = member.rest + chunk
    if (!member.isOpen && member.refused === undefined) {
      if (!text.startsWith(OPENED)) {
        member.refused = Number(text.slice(9, 12))
        return
      }
      member.isOpen = true
    }
    if (chunk.endsWith(PING)) member.socket.write(PONG)
    let end = 0
    for (const found of text.matchAll(SEQ)) {
      const seq = Number(found[1])
      if (seq !== member.cursor + 1) this.faults.push(`after ${member.cursor} came ${seq}`)
      member.cursor = seq
      end = found.index + found[0].length
    }
    member.rest = text.slice(Math.max(end, text.length - 24))
  }
}
