import { performance } from 'node:perf_hooks'
import { agentEvent } from '../payloads.ts'
import type { Sample } from './httpLoad.ts'
import type { Ledger } from './ledger.ts'
import { maskedText, WebSocketReader } from './webSocket.ts'

export interface SocketLoad {
  readonly port: number
  /** One connection each. */
  readonly sessions: readonly string[]
  /** Appends of a connection that await their answers at any time. */
  readonly pipelined: number
  readonly seconds: number
}

type Reply = [
  joinRef: string,
  ref: string,
  topic: string,
  event: string,
  payload: { status: string; response: { seq: number } },
]

/** Closed loop: each answer is followed by the next append under the same ref. */
export async function socketLoad(load: SocketLoad, ledger: Ledger | undefined): Promise<Sample> {
  const latencies: number[] = []
  const clients = await Promise.all(
    load.sessions.map((session) => AppendingClient.join(load, session, latencies, ledger)),
  )
  const start = performance.now()
  await Promise.all(clients.map((client) => client.appendUntil(start + load.seconds * 1000)))
  const seconds = (performance.now() - start) / 1000
  for (const client of clients) client.close()
  return { count: latencies.length, seconds, latencies: Float64Array.from(latencies) }
}

/** A client in one session's topic; it is sent what it appends, as every member is. */
class AppendingClient {
  readonly #session: string
  readonly #latencies: number[]
  readonly #ledger: Ledger | undefined
  /** By ref; a ref has one append under way at a time. */
  readonly #frames: readonly Buffer[]
  #sentAt: number[] = []
  #socket: WebSocketReader | undefined
  #deadline = 0
  #underWay = 0
  #settle: { resolve(): void; reject(error: Error): void } | undefined

  private constructor(session: string, pipelined: number, latencies: number[], ledger: Ledger | undefined) {
    this.#session = session
    this.#latencies = latencies
    this.#ledger = ledger
    this.#frames = Array.from({ length: pipelined }, (_, ref) =>
      maskedText(JSON.stringify(['j', String(ref), `tail:${session}`, 'append', agentEvent(ref)])),
    )
  }

  static async join(
    { port, pipelined }: SocketLoad,
    session: string,
    latencies: number[],
    ledger: Ledger | undefined,
  ): Promise<AppendingClient> {
    const client = new AppendingClient(session, pipelined, latencies, ledger)
    const socket = await WebSocketReader.open(port, '/v1/socket/websocket?vsn=2.0.0', {
      text: (frame) => client.#take(frame),
      closed: (code) => client.#settle?.reject(new Error(`a socket was closed with ${code}`)),
    })
    client.#socket = socket
    const { last_seq } = (await (await fetch(`http://127.0.0.1:${port}/v1/sessions/${session}`)).json()) as {
      last_seq: number
    }
    socket.write(
      maskedText(
        JSON.stringify(['j', 'j', `tail:${session}`, 'phx_join', { cursor: last_seq, batch_size: 1000 }]),
      ),
    )
    await new Promise<void>((resolve, reject) => {
      client.#settle = { resolve, reject }
    })
    return client
  }

  appendUntil(deadline: number): Promise<void> {
    this.#deadline = deadline
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#socket?.write(Buffer.concat(this.#frames))
      this.#underWay = this.#frames.length
      this.#sentAt = Array(this.#underWay).fill(performance.now())
    })
  }

  close(): void {
    this.#socket?.close()
  }

  #take(frame: Buffer): void {
    if (frame.includes('"events"', 0, 'latin1')) return
    const [, ref, , event, { status, response }] = JSON.parse(frame.toString()) as Reply
    if (event !== 'phx_reply' || status !== 'ok') {
      this.#settle?.reject(new Error(`a push to ${this.#session} was answered ${frame.toString()}`))
      return
    }
    if (ref === 'j') {
      this.#settle?.resolve()
      return
    }
    const now = performance.now()
    const slot = Number(ref)
    this.#latencies.push(now - this.#sentAt[slot]!)
    this.#ledger?.note(this.#session, response.seq)
    if (now < this.#deadline) {
      this.#sentAt[slot] = now
      this.#socket?.write(this.#frames[slot]!)
    } else if (--this.#underWay === 0) this.#settle?.resolve()
  }
}
