import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentEvent, agentEvents } from '../payloads.ts'
import { type Answer, HttpConnection, post } from './httpConnection.ts'
import type { Ledger } from './ledger.ts'

export interface HttpLoad {
  readonly port: number
  readonly connections: number
  readonly sessions: readonly string[]
  readonly seconds: number
  /** Events per request; 1 posts to /append, more to /events. */
  readonly batch?: number
}

export interface PacedLoad extends HttpLoad {
  readonly perSecond: number
}

/** What was measured in one window: how many events, in how long, and each answer's time in ms. */
export interface Sample {
  readonly count: number
  readonly seconds: number
  readonly latencies: Float64Array
}

export interface PacedSample extends Sample {
  /** When each was due, in milliseconds since the epoch. */
  readonly dues: Float64Array
}

interface Request {
  readonly session: string
  readonly bytes: Buffer
}

/** Closed loop: each connection sends its next request when the last one was answered. */
export async function httpLoad(load: HttpLoad, ledger: Ledger | undefined): Promise<Sample> {
  const requests = requestsOf(load)
  return onConnections(load, async (connection, latencies, index, start) => {
    const deadline = start + load.seconds * 1000
    // Connections set out at different sessions, and each goes round all of them.
    for (let n = index * 7; performance.now() < deadline; n++) {
      const request = requests[n % requests.length]!
      const sent = performance.now()
      const answer = await connection.exchange(request.bytes)
      latencies.push(performance.now() - sent)
      check(answer, request, ledger)
    }
  })
}

/** Open loop: request n leaves at n / perSecond, however slow the answers are; time counts from when it was due. */
export async function pacedLoad(load: PacedLoad, ledger: Ledger | undefined): Promise<PacedSample> {
  const requests = requestsOf(load)
  const total = load.perSecond * load.seconds
  const dues: number[] = []
  const sample = await onConnections(load, async (connection, latencies, index, start) => {
    for (let n = index; n < total; n += load.connections) {
      const due = start + (n * 1000) / load.perSecond
      const early = due - performance.now()
      if (early > 0) await sleep(early)
      const request = requests[n % requests.length]!
      const answer = await connection.exchange(request.bytes)
      latencies.push(performance.now() - due)
      dues.push(performance.timeOrigin + due)
      check(answer, request, ledger)
    }
  })
  return { ...sample, dues: Float64Array.from(dues) }
}

type Drive = (connection: HttpConnection, latencies: number[], index: number, start: number) => Promise<void>

async function onConnections(load: HttpLoad, drive: Drive): Promise<Sample> {
  const connections = await Promise.all(
    Array.from({ length: load.connections }, () => HttpConnection.open(load.port)),
  )
  const latencies: number[] = []
  try {
    const start = performance.now()
    await Promise.all(connections.map((connection, index) => drive(connection, latencies, index, start)))
    const seconds = (performance.now() - start) / 1000
    return { count: latencies.length * (load.batch ?? 1), seconds, latencies: Float64Array.from(latencies) }
  } finally {
    for (const connection of connections) connection.close()
  }
}

function requestsOf({ sessions, batch = 1 }: HttpLoad): Request[] {
  // One session still gets a few different bodies.
  const rounds = Math.ceil(8 / sessions.length)
  return Array.from({ length: rounds * sessions.length }, (_, n) => {
    const session = sessions[n % sessions.length]!
    const path = `/v1/sessions/${session}`
    const bytes =
      batch === 1
        ? post(`${path}/append`, agentEvent(n))
        : post(`${path}/events`, { events: agentEvents(batch, n) })
    return { session, bytes }
  })
}

function check({ status, body }: Answer, { session }: Request, ledger: Ledger | undefined): void {
  if (status !== 201) throw new Error(`an append to ${session} was answered ${status}: ${body}`)
  if (ledger === undefined) return
  const answer = JSON.parse(body)
  for (const { seq } of answer.results ?? [answer]) ledger.note(session, seq)
}
