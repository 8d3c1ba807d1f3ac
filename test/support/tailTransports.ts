import { at } from './answers.ts'
import { TailClient } from './client.ts'
import { EventStreamClient } from './eventStreamClient.ts'
import { SocketClient } from './socketClient.ts'

/** Where a tail begins, and who reads it. */
export interface TailStart {
  readonly cursor?: number | undefined
  readonly cursorInsertedAt?: string
  readonly batchSize?: number | undefined
  readonly token?: string
}

/** What a reader has received so far. */
export interface Received {
  hasBegun: boolean
  /** The seqs of the events, by the list or message in which they came. */
  readonly batches: number[][]
  /** The error code, when the tail was refused. */
  refusal: string | undefined
  /** How the tail ended, in the words of its transport. */
  end: string | undefined
}

/** One tail of one session. */
export interface TailReader {
  received(): Received
  /** Takes nothing off the connection until `resume`. */
  pause(): void
  resume(): void
  close(): void
}

/** One way to tail a session. */
export interface TailTransport {
  readonly name: string
  /** Whether a reader chooses how many events come at a time. */
  readonly hasBatchSizes: boolean
  open(base: string, sessionId: string, start?: TailStart): TailReader
  /** How a tail ends for its reader. */
  readonly ends: Readonly<Record<'erased' | 'changed' | 'tokenWithdrawn' | 'draining' | 'stalled', string>>
}

/** How a WebSocket ends whose peer is gone, or has not taken the close in time. */
export const CUT = '1006 '

/** How a WebSocket ends whose peer takes nothing. */
export const SLOW = '1013 slow_consumer'

interface Numbered {
  readonly seq: number
}

const nothing = (): Received => ({ hasBegun: false, batches: [], refusal: undefined, end: undefined })
const seqsOf = (events: readonly Numbered[]) => events.map(({ seq }) => seq)
const bearer = (token: string | undefined): Record<string, string> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` }

function queryOf({ cursor, cursorInsertedAt, batchSize }: TailStart): string {
  const query = new URLSearchParams()
  if (cursor !== undefined) query.set('cursor', String(cursor))
  if (cursorInsertedAt !== undefined) query.set('cursor_inserted_at', cursorInsertedAt)
  if (batchSize !== undefined) query.set('batch_size', String(batchSize))
  return query.toString()
}

/** The events of a frame: one object, or an array where the reader asked for more than one. */
function eventsOf(frame: string, batchSize = 1): Numbered[] {
  const value = JSON.parse(frame)
  if (Array.isArray(value) !== batchSize > 1)
    throw new Error(`with batch_size=${batchSize} a frame was ${frame.slice(0, 40)}…`)
  return [value].flat()
}

export const WEB_SOCKET: TailTransport = {
  name: 'WebSocket',
  hasBatchSizes: true,
  ends: {
    erased: '4004 session_erased',
    changed: '4009 history_changed',
    tokenWithdrawn: '4001 token_invalid',
    draining: '1012 draining',
    stalled: SLOW,
  },
  open(base, sessionId, start = {}) {
    const client = new TailClient(base, sessionId, queryOf(start), bearer(start.token))
    const received = nothing()
    client.socket.on('open', () => {
      received.hasBegun = true
    })
    client.socket.on('unexpected-response', async (request, response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      request.destroy()
      received.refusal = JSON.parse(text).error
    })
    return {
      received() {
        for (const frame of client.frames.slice(received.batches.length))
          received.batches.push(seqsOf(eventsOf(frame, start.batchSize)))
        received.end = client.closed && `${client.closed.code} ${client.closed.reason}`
        return received
      },
      pause: () => client.socket.pause(),
      resume: () => client.socket.resume(),
      close: () => client.close(),
    }
  },
}

/** A reader of server-sent events, whose messages `take` adds to what was received. */
function eventStreamReader(
  client: EventStreamClient,
  take: (received: Received, message: Record<string, unknown>) => void,
): TailReader {
  const received = nothing()
  let taken = 0
  return {
    received() {
      const { response, messages, text } = client
      const isRefused = response !== undefined && response.statusCode !== 200
      for (; taken < messages.length; taken += 1) take(received, JSON.parse(messages[taken]?.data ?? ''))
      if (client.ended && isRefused) received.refusal = JSON.parse(text).error
      else if (client.ended) received.end ??= response?.complete ? 'end' : 'cut'
      return received
    },
    pause: () => void client.response?.pause(),
    resume: () => void client.response?.resume(),
    close: () => client.close(),
  }
}

const eventStream: TailTransport = {
  name: 'event stream',
  hasBatchSizes: false,
  ends: { erased: 'end', changed: 'history_changed', tokenWithdrawn: 'end', draining: 'end', stalled: 'cut' },
  open(base, sessionId, start = {}) {
    const client = new EventStreamClient(at(base, sessionId, `/tail?${queryOf(start)}`), bearer(start.token))
    const reader = eventStreamReader(client, (received, message) => {
      if (message.error === undefined) received.batches.push([message.seq as number])
      else received.end = message.error as string
    })
    return {
      ...reader,
      received: () => Object.assign(reader.received(), { hasBegun: client.response?.statusCode === 200 }),
    }
  },
}

const manyTails: TailTransport = {
  name: 'event stream of many tails',
  hasBatchSizes: false,
  ends: {
    erased: 'session_erased',
    changed: 'history_changed',
    tokenWithdrawn: 'end',
    draining: 'end',
    stalled: 'cut',
  },
  open(base, sessionId, { cursor, cursorInsertedAt, token } = {}) {
    const tail = { session_id: sessionId, cursor, cursor_inserted_at: cursorInsertedAt }
    const client = new EventStreamClient(
      `${base}/v1/tails`,
      { 'content-type': 'application/json', ...bearer(token) },
      { tails: [tail] },
    )
    return eventStreamReader(client, (received, { events, error }) => {
      if (events !== undefined) received.batches.push(seqsOf(events as Numbered[]))
      else if (error === undefined) received.hasBegun = true
      else if (received.hasBegun) received.end = error as string
      else received.refusal = error as string
    })
  },
}

const phoenixTopic: TailTransport = {
  name: 'topic of the multiplexed socket',
  hasBatchSizes: true,
  ends: {
    erased: 'session_erased, phx_close',
    changed: 'history_changed, phx_close',
    tokenWithdrawn: 'token_expired, phx_close',
    draining: '1012 draining',
    // The topic ends with its socket, and that is when the node cuts the close that the reader has not taken.
    stalled: CUT,
  },
  open(base, sessionId, { cursor, cursorInsertedAt, batchSize, token } = {}) {
    const client = new SocketClient(base, `vsn=2.0.0${token === undefined ? '' : `&token=${token}`}`)
    const payload = { cursor, cursor_inserted_at: cursorInsertedAt, batch_size: batchSize }
    client.ws.on('open', () => client.send(['1', '1', `tail:${sessionId}`, 'phx_join', payload]))
    const received = nothing()
    const last: string[] = []
    let taken = 0
    return {
      received() {
        for (; taken < client.texts.length; taken += 1) {
          const [, , , event, body] = JSON.parse(client.texts[taken] ?? '')
          if (event === 'events') received.batches.push(seqsOf(body.events))
          else if (event !== 'phx_reply') last.push(event)
          else if (body.status === 'ok') received.hasBegun = true
          else received.refusal = body.response.reason
        }
        if (last.at(-1) === 'phx_close') received.end = last.join(', ')
        else if (client.closed) received.end = `${client.closed.code} ${client.closed.reason}`
        return received
      },
      pause: () => client.ws.pause(),
      resume: () => client.ws.resume(),
      close: () => client.close(),
    }
  },
}

/** Every way to tail a session. */
export const TAIL_TRANSPORTS = [WEB_SOCKET, eventStream, manyTails, phoenixTopic]
