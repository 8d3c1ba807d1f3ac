import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const SEQ = /\{"seq":(\d+),/g
const PING = '\x89\x00'
/** Masked, as a client's frames are. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0])
const HTTP_VERSION = 'HTTP/1.1 '
const OPENED = 101
const UNAVAILABLE = 503

/** The node's `Retry-After` is a second; a crowd that came back all at once does not do so again. */
const RETRY_MS = 1000

interface Member {
  socket: Socket
  isOpen: boolean
  /** Statuses of handshakes that were refused. */
  readonly refused: number[]
  cursor: number
  closed: boolean
  rest: string
}

/** Very many raw tails on one session, each a bare socket that remembers little more than where it is. */
export class TailCrowd {
  readonly members: Member[] = []
  readonly faults: string[] = []
  #isDestroyed = false

  /** Opens all at once; resolves when each is open, or has ended. */
  async open(base: string, session: string, cursors: readonly number[]): Promise<void> {
    await Promise.all(cursors.map((cursor) => this.#openOne(new URL(base), session, cursor)))
  }

  /** How many are how far, in words. */
  get states(): Record<string, number> {
    const states: Record<string, number> = {}
    for (const { isOpen, closed, refused, rest } of this.members) {
      const state = isOpen
        ? closed
          ? `closed: ${rest.slice(-12)}`
          : 'open'
        : `refused: ${refused.at(-1) ?? 'without an answer'}`
      states[state] = (states[state] ?? 0) + 1
    }
    return states
  }

  /** From now on takes nothing off its connections. */
  stopReading(): void {
    for (const { socket } of this.members) socket.pause()
  }

  haveAll(seq: number): boolean {
    return this.members.every(({ cursor, closed }) => closed || cursor >= seq)
  }

  destroy(): void {
    this.#isDestroyed = true
    for (const { socket } of this.members) socket.destroy()
  }

  /** Resolves when the tail is open, or refused permanently. After 503, or without an answer, it tries again. */
  async #openOne(url: URL, session: string, cursor: number): Promise<void> {
    const member: Member = {
      socket: this.#connect(url),
      isOpen: false,
      refused: [],
      cursor,
      closed: false,
      rest: '',
    }
    this.members.push(member)
    for (;;) {
      const status = await this.#shakeHands(member, session)
      if (status !== undefined && status !== UNAVAILABLE) return
      if (this.#isDestroyed) return
      member.socket.destroy()
      await sleep(RETRY_MS)
      if (this.#isDestroyed) return
      member.socket = this.#connect(url)
    }
  }

  #connect({ hostname, port }: URL): Socket {
    return connect({ host: hostname, port: Number(port) }).on('error', () => {}) // followed by close
  }

  /** The status of the answer; undefined when the connection ended without one. */
  async #shakeHands(member: Member, session: string): Promise<number | undefined> {
    const { socket, cursor } = member
    Object.assign(member, { closed: false, rest: '' })
    let status: number | undefined
    socket.on('close', () => {
      if (member.socket === socket) member.closed = true
    })
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      if (status === undefined) {
        status = Number(text.slice(HTTP_VERSION.length, HTTP_VERSION.length + 3))
        if (status === OPENED) member.isOpen = true
        else member.refused.push(status)
      }
      if (member.isOpen) this.#take(member, text)
    })
    socket.write(
      `GET /v1/sessions/${session}/tail?cursor=${cursor} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n` +
        'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    )
    await Promise.race([once(socket, 'data'), once(socket, 'close')]).catch(() => {})
    return status
  }

  /** Every frame of these tails is an event, and every event begins with its seq. */
  #take(member: Member, chunk: string): void {
    const text = member.rest + chunk
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
