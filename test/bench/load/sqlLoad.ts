import { performance } from 'node:perf_hooks'
import pg from 'pg'
import { agentEvent, agentEvents } from '../payloads.ts'
import { appendEvents } from './appendEvents.ts'
import type { Sample } from './httpLoad.ts'

export interface CommitLoad {
  readonly url: string
  readonly seconds: number
}

/** One connection, one row, one commit: what durability alone costs on this disk. */
export async function commitLoad({ url, seconds }: CommitLoad): Promise<Sample> {
  const text = JSON.stringify(agentEvent(0).payload)
  return onClients(url, 1, seconds, async (client) => {
    await client.query({
      name: 'commit',
      text: 'insert into bare_commits (payload) values ($1)',
      values: [text],
    })
    return 1
  })
}

export interface DirectLoad {
  readonly url: string
  readonly connections: number
  readonly perCall: number
  readonly seconds: number
  readonly sessions: readonly string[]
}

/** The procedure itself, each connection with sessions of its own, as batches of a node are. */
export async function directLoad({
  url,
  connections,
  perCall,
  seconds,
  sessions,
}: DirectLoad): Promise<Sample> {
  const events = agentEvents(perCall)
  return onClients(url, connections, seconds, async (client, index, turn) => {
    const own = sessions.filter((_, i) => i % connections === index)
    const names = events.map((_, i) => own[(turn * perCall + i) % own.length]!)
    await appendEvents(client, names, events)
    return perCall
  })
}

type Turn = (client: pg.Client, index: number, turn: number) => Promise<number>

async function onClients(url: string, count: number, seconds: number, turn: Turn): Promise<Sample> {
  const clients = Array.from({ length: count }, () => new pg.Client({ connectionString: url }))
  try {
    await Promise.all(clients.map((client) => client.connect()))
    const latencies: number[] = []
    let done = 0
    const start = performance.now()
    const deadline = start + seconds * 1000
    await Promise.all(
      clients.map(async (client, index) => {
        for (let n = 0; performance.now() < deadline; n++) {
          const sent = performance.now()
          const events = await turn(client, index, n)
          done += events
          latencies.push(performance.now() - sent)
        }
      }),
    )
    const elapsed = (performance.now() - start) / 1000
    return { count: done, seconds: elapsed, latencies: Float64Array.from(latencies) }
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}
