import type { Lab } from '../lab.ts'
import type { Sample } from '../load/httpLoad.ts'
import type { Case } from './case.ts'

/** Tails that are this late have lost something. */
const GIVE_UP_MS = 15_000
const REPLAYED = 100_000

interface LagOptions {
  readonly id: string
  readonly group: string
  readonly name: string
  readonly tailsOn: 'a' | 'b'
  readonly sessions: number
  readonly tailsPerSession: number
  readonly appendsPerSecond: number
  readonly connections: number
  readonly over?: 'websocket' | 'sse'
}

/**
 * Lag is counted from inserted_at, which an event is given before it is committed, to the moment its frame was read:
 * so it holds the commit too. Appends always go through node a.
 */
export function tailCases(lab: Lab): Case[] {
  const ten = { group: 'lag', sessions: 10, tailsPerSession: 10, appendsPerSecond: 1000, connections: 32 }
  const crowd = {
    group: 'crowd',
    tailsOn: 'a',
    sessions: 50,
    tailsPerSession: 100,
    appendsPerSecond: 100,
    connections: 4,
  } as const
  return [
    lagCase(lab, {
      ...ten,
      id: 'lag-same',
      name: 'lag of 100 tails, 1,000 appends/s, same node',
      tailsOn: 'a',
    }),
    lagCase(lab, {
      ...ten,
      id: 'lag-other',
      name: 'lag of 100 tails, 1,000 appends/s, other node',
      tailsOn: 'b',
    }),
    lagCase(lab, {
      id: 'fanout',
      group: 'fanout',
      name: 'one session to 1,000 sockets, 50 appends/s',
      tailsOn: 'a',
      sessions: 1,
      tailsPerSession: 1000,
      appendsPerSecond: 50,
      connections: 4,
    }),
    lagCase(lab, { ...crowd, id: 'crowd', name: '5,000 raw tails, 100 appends/s', over: 'websocket' }),
    lagCase(lab, { ...crowd, id: 'crowd-sse', name: '5,000 event streams, 100 appends/s', over: 'sse' }),
    replayCase(lab, 'replay', 'replay of 100,000 events, a frame each', undefined),
    replayCase(lab, 'replay-500', 'replay of 100,000 events, batch_size=500', 500),
  ]
}

function lagCase(lab: Lab, options: LagOptions): Case {
  const { id, group, name, tailsOn, tailsPerSession, appendsPerSecond: perSecond, connections } = options
  let runs = 0
  return {
    id,
    group,
    name,
    note: 'lag runs from inserted_at, so it holds the commit too, to receipt; rates are deliveries',
    prepare: async () => ({
      a: (await lab.node('a')).pid,
      ...(tailsOn === 'b' ? { b: (await lab.node('b')).pid } : {}),
      postgres: (await lab.postgres()).pid,
      load: (await lab.load()).pid,
      tails: (await lab.tails()).pid,
    }),
    run: async (seconds): Promise<Sample> => {
      const sessions = await lab.sessions(`${id}_${++runs}`, options.sessions)
      const [load, tails] = [await lab.load(), await lab.tails()]
      await tails.call('open', {
        port: (await lab.node(tailsOn)).port,
        sessions,
        perSession: tailsPerSession,
        ...(options.over === undefined ? {} : { over: options.over }),
      })
      try {
        const port = (await lab.node('a')).port
        const paced = { port, sessions, connections, perSecond, seconds: Math.ceil(seconds) }
        const appended = await load.call('paced', { ...paced, ledger: 'starcite' })
        const count = appended.count * tailsPerSession
        const { lags, missing } = await tails.call('await', { count, timeoutMs: GIVE_UP_MS })
        if (missing > 0) throw new Error(`${name}: ${missing} of ${count} deliveries did not come`)
        return { count, seconds: appended.seconds, latencies: lags }
      } finally {
        await tails.call('close', undefined as never)
      }
    },
  }
}

function replayCase(lab: Lab, id: string, name: string, batchSize: number | undefined): Case {
  return {
    id,
    group: 'replay',
    name,
    prepare: async () => {
      await lab.filledSession('replay', REPLAYED)
      return {
        server: (await lab.node('a')).pid,
        postgres: (await lab.postgres()).pid,
        tails: (await lab.tails()).pid,
      }
    },
    run: async () => {
      const session = await lab.filledSession('replay', REPLAYED)
      const port = (await lab.node('a')).port
      return (await lab.tails()).call('replay', { port, session, events: REPLAYED, batchSize })
    },
  }
}
