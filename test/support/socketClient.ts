import { once } from 'node:events'
import { WebSocket } from 'ws'
import { holdFrame } from './contract.ts'
import { until } from './until.ts'

export type Frame = [
  joinRef: string | null,
  ref: string | null,
  topic: string,
  event: string,
  payload: unknown,
]

const SOCKET = ['socket', 'tailTopic', 'lifecycleTopic']

/** The multiplexed socket, frame by frame, each as the contract has it. */
export class SocketClient {
  readonly ws: WebSocket
  /** The text of every frame received. */
  readonly texts: string[] = []
  closed: { code: number; reason: string } | undefined

  constructor(base: string, query = 'vsn=2.0.0', options: object = {}) {
    this.ws = new WebSocket(`${base.replace(/^http/, 'ws')}/v1/socket/websocket?${query}`, options)
    this.ws.on('message', (data) => {
      holdFrame(SOCKET, String(data))
      this.texts.push(String(data))
    })
    this.ws.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) }
    })
    this.ws.on('error', () => {}) // followed by close
  }

  static async open(base: string, query?: string, options?: object): Promise<SocketClient> {
    const client = new SocketClient(base, query, options)
    await once(client.ws, 'open')
    return client
  }

  get frames(): Frame[] {
    return this.texts.map((text) => JSON.parse(text) as Frame)
  }

  send(...frames: unknown[]): this {
    for (const frame of frames) this.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
    return this
  }

  /** Joins, and resolves with the reply's payload. */
  async join(topic: string, payload: unknown = {}, joinRef = '1', ref = joinRef): Promise<unknown> {
    this.send([joinRef, ref, topic, 'phx_join', payload])
    return this.reply(ref, topic)
  }

  /** Resolves with the payload of the reply that has this ref, once it is there. */
  async reply(ref: string, topic?: string): Promise<unknown> {
    const found = await this.#find(
      `a reply to ${ref}`,
      (frame) => frame[1] === ref && frame[3] === 'phx_reply' && (topic === undefined || frame[2] === topic),
    )
    return found[4]
  }

  /** Resolves with the first frame of this event. */
  event(name: string): Promise<Frame> {
    return this.#find(`an event ${name}`, (frame) => frame[3] === name)
  }

  /** The texts of all frames, once there are so many. */
  async received(count: number): Promise<string[]> {
    await until(`${count} frames, there are ${this.texts.length}`, () => this.texts.length >= count)
    return this.texts
  }

  /** The events of a topic that it was sent, in order. */
  events(topic: string): { seq: number; cursor: number }[] {
    return this.frames
      .filter((frame) => frame[2] === topic && frame[3] === 'events')
      .flatMap((frame) => (frame[4] as { events: { seq: number; cursor: number }[] }).events)
  }

  async end(): Promise<{ code: number; reason: string }> {
    return until('the socket is closed', () => this.closed)
  }

  close(): void {
    this.ws.terminate()
  }

  #find(what: string, matches: (frame: Frame) => boolean): Promise<Frame> {
    let looked = 0
    return until(what, () => {
      const found = this.frames.slice(looked).find(matches)
      looked = this.texts.length
      return found
    })
  }
}
