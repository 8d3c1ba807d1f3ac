import { type Channel, Socket, type SocketConnectOption } from 'phoenix'
import { WebSocket } from 'ws'

/** As a program sees it, and with what an event must not be without. */
export interface SeenEvent {
  readonly seq: number
  readonly cursor: number
}

/** How clients framed before version 2; the client of today leaves that to its user. */
const VERSION_1: Partial<SocketConnectOption> = {
  encode: (message: object, done: (text: string) => void) =>
    done(JSON.stringify({ ...message, join_ref: undefined })),
  decode: (text: string, done: (message: unknown) => void) => done(JSON.parse(text)),
}

/**
 * Sessions tailed by Phoenix's own client, as an application does it: the client reconnects and joins again by itself,
 * and asks for the latest cursor each time.
 */
export class PhoenixTails {
  readonly socket: Socket
  readonly closes: number[] = []
  readonly faults: string[] = []
  readonly #events = new Map<string, SeenEvent[]>()
  readonly #channels = new Map<string, Channel>()

  /** `base` and `params` are asked at every connection, so it may change nodes and tokens. */
  constructor(
    base: () => string,
    vsn: '1.0.0' | '2.0.0' = '2.0.0',
    params: () => Readonly<Record<string, string>> = () => ({}),
  ) {
    const Transport = class extends WebSocket {
      constructor(url: string) {
        super(url.replace('ws://node', base().replace(/^http/, 'ws')))
      }
    }
    this.socket = new Socket('ws://node/v1/socket', {
      // biome-ignore lint/suspicious/noExplicitAny: the types of the package want the browser's own WebSocket
      transport: Transport as any,
      reconnectAfterMs: () => 50,
      rejoinAfterMs: () => 50,
      vsn,
      params,
      ...(vsn === '1.0.0' ? VERSION_1 : {}),
    })
    this.socket.onClose((event) => void this.closes.push((event as { code: number }).code))
    this.socket.connect()
  }

  /** Resolves when it is joined. */
  tail(sessionId: string, batchSize?: number): Promise<void> {
    const events: SeenEvent[] = []
    this.#events.set(sessionId, events)
    const channel = this.socket.channel(`tail:${sessionId}`, () => ({
      cursor: events.length,
      ...(batchSize && { batch_size: batchSize }),
    }))
    this.#channels.set(sessionId, channel)
    channel.on('events', (payload: { events: SeenEvent[] }) => {
      for (const event of payload.events) {
        if (event.seq === events.length + 1 && event.cursor === event.seq) events.push(event)
        else this.faults.push(`${sessionId}: after ${events.length} came ${event.seq}`)
      }
    })
    channel.onClose(() => void this.faults.push(`${sessionId} was closed`))
    return new Promise((resolve, reject) => {
      channel
        .join()
        .receive('ok', () => resolve())
        .receive('error', reject)
    })
  }

  append(sessionId: string, event: object): Promise<{ seq: number }> {
    return new Promise((resolve, reject) => {
      this.channel(sessionId).push('append', event).receive('ok', resolve).receive('error', reject)
    })
  }

  channel(sessionId: string): Channel {
    const channel = this.#channels.get(sessionId)
    if (channel === undefined) throw new Error(`${sessionId} is not tailed`)
    return channel
  }

  events(sessionId: string): readonly SeenEvent[] {
    return this.#events.get(sessionId) ?? []
  }

  close(): void {
    this.faults.length = 0
    this.socket.disconnect()
  }
}
