import { at } from './answers.ts'
import { call } from './client.ts'
import { EventStreamClient } from './eventStreamClient.ts'
import { elementTexts, memberTexts } from './jsonText.ts'
import { PhoenixTails } from './phoenixTails.ts'
import { SocketClient } from './socketClient.ts'

/** A session followed over one of the transports, from its start. */
export interface LiveReader {
  readonly name: string
  /** The text of each event, as it came; or, when its client only shows values, of what they are rendered to again. */
  readonly events: () => readonly string[]
  readonly isParsed: boolean
  stop(): void
}

/** What remains of an event's text when JavaScript has read it. */
export const reparsed = (text: string): string => JSON.stringify(JSON.parse(text))

/** One for each transport but the raw WebSocket. */
export function openReaders(base: string, id: string): LiveReader[] {
  return [
    eventStream(base, id),
    longPoll(base, id),
    socket(base, id, 1),
    socket(base, id, 2),
    phoenixClient(base, id),
  ]
}

function eventStream(base: string, id: string): LiveReader {
  const client = new EventStreamClient(at(base, id, '/tail'))
  return { name: 'event stream', isParsed: false, events: () => client.events, stop: () => client.close() }
}

function longPoll(base: string, id: string): LiveReader {
  const events: string[] = []
  let stopped = false
  const poll = async () => {
    while (!stopped) {
      const { text, json } = await call('GET', at(base, id, `/events?wait=1&cursor=${events.length}`))
      if (json.events.length > 0) events.push(...elementTexts(memberTexts(text).get('events') ?? '[]'))
    }
  }
  poll().catch(() => {}) // the events that are missing then tell
  return { name: 'long-poll', isParsed: false, events: () => events, stop: () => (stopped = true) }
}

function socket(base: string, id: string, version: 1 | 2): LiveReader {
  const topic = `tail:${id}`
  const client = new SocketClient(base, `vsn=${version}.0.0`)
  client.ws.once('open', () =>
    client.send(
      version === 2
        ? ['1', '1', topic, 'phx_join', {}]
        : { topic, event: 'phx_join', payload: { batch_size: 7 }, ref: '1' },
    ),
  )
  const events: string[] = []
  let read = 0
  return {
    name: `socket, version ${version}`,
    isParsed: false,
    events: () => {
      for (; read < client.texts.length; read += 1)
        events.push(...eventsOf(client.texts[read] ?? '', version))
      return events
    },
    stop: () => client.close(),
  }
}

/** The events of a frame without the `cursor` that they have on the socket. */
function eventsOf(frame: string, version: 1 | 2): string[] {
  const payload = version === 2 ? elementTexts(frame)[4] : memberTexts(frame).get('payload')
  const list = memberTexts(payload ?? '{}').get('events')
  return elementTexts(list ?? '[]').map((event) => {
    const seq = memberTexts(event).get('seq')
    const end = `,"cursor":${seq}}`
    return event.endsWith(end) ? `${event.slice(0, -end.length)}}` : `no cursor: ${event}`
  })
}

function phoenixClient(base: string, id: string): LiveReader {
  const client = new PhoenixTails(() => base)
  client.tail(id, 50).catch(() => {}) // the events that are missing then tell
  return {
    name: 'Phoenix’s client',
    isParsed: true,
    events: () => client.events(id).map(({ cursor: _, ...event }) => JSON.stringify(event)),
    stop: () => client.close(),
  }
}
