import type { Lab } from '../lab.ts'
import type { Sample } from '../load/httpLoad.ts'
import type { Case } from './case.ts'

const SESSIONS = 200
const PER_REQUEST = 100

/** Appends over HTTP, by the same generator: to an empty Koa route, to what one writes by hand, and to a node. */
export function appendCases(lab: Lab): Case[] {
  const http = async (target: HttpTarget, load: { connections: number; batch?: number }, seconds: number) =>
    (await lab.load()).call('http', { ...(await target.where()), ...load, seconds })

  const rowsOf = (target: HttpTarget, id: string, name: string, connections: number, batch = 1): Case => ({
    id: `${id}-${connections}`,
    group: id.split('-')[0]!,
    name: `${name}, ${connections} connection${connections === 1 ? '' : 's'}`,
    prepare: target.prepare,
    run: (seconds) => http(target, { connections, batch }, seconds),
  })

  const at = (target: HttpTarget, id: string, name: string) =>
    [1, 64, 256].map((connections) => rowsOf(target, id, name, connections))

  return [
    ...at(floor(lab), 'floor', 'empty Koa route'),
    rowsOf(baseline(lab, 'byStatements'), 'baseline', 'by hand: one transaction per append', 64),
    rowsOf(baseline(lab, 'inOneStatement'), 'baseline-folded', 'by hand, folded into one statement', 64),
    ...at(node(lab, 'appends', SESSIONS), 'ours', 'append'),
    ...at(node(lab, 'hot', 1), 'hot', 'append to one hot session'),
    socketCase(lab, 64, 16),
    rowsOf(node(lab, 'batches', SESSIONS), 'batches', `batches of ${PER_REQUEST}`, 8, PER_REQUEST),
  ]
}

/** The multiplexed socket: each connection in the topic of a session of its own. */
function socketCase(lab: Lab, connections: number, pipelined: number): Case {
  const target = node(lab, 'socket', connections)
  return {
    id: `socket-${connections}`,
    group: 'socket',
    name: `append on the socket, ${connections} × ${pipelined} pipelined`,
    note: 'each of these connections is also sent every event that it appends',
    prepare: target.prepare,
    run: async (seconds) =>
      (await lab.load()).call('socket', { ...(await target.where()), pipelined, seconds }),
  }
}

/** What durability alone costs, and the procedure without HTTP in front of it. */
export function sqlCases(lab: Lab): Case[] {
  const direct = (connections: number, perCall: number): Case => ({
    id: `direct-${perCall}`,
    group: 'direct',
    name: `append_events by SQL, ${connections} connections, ${perCall} a call`,
    note: 'each connection has sessions of its own; the latency is that of a call',
    prepare: async () => {
      await lab.sessions('direct', SESSIONS)
      return { postgres: (await lab.postgres()).pid, load: (await lab.load()).pid }
    },
    run: async (seconds): Promise<Sample> => {
      const [url, sessions] = [await lab.database('starcite'), await lab.sessions('direct', SESSIONS)]
      return (await lab.load()).call('direct', { url, sessions, connections, perCall, seconds })
    },
  })

  const commit: Case = {
    id: 'commit-1',
    group: 'commit',
    name: 'one row per commit, bare SQL, 1 connection',
    prepare: async () => {
      await lab.baseline()
      return { postgres: (await lab.postgres()).pid, load: (await lab.load()).pid }
    },
    run: async (seconds) => (await lab.load()).call('commits', { url: (await lab.baseline()).url, seconds }),
  }

  return [commit, direct(4, 64), direct(2, 256)]
}

interface HttpTarget {
  readonly prepare: Case['prepare']
  readonly where: () => Promise<{ port: number; sessions: readonly string[]; ledger?: string }>
}

function floor(lab: Lab): HttpTarget {
  return {
    prepare: async () => ({ server: (await lab.floor()).pid, load: (await lab.load()).pid }),
    where: async () => ({ port: (await lab.floor()).port, sessions: ['ses_floor'] }),
  }
}

function baseline(lab: Lab, form: 'byStatements' | 'inOneStatement'): HttpTarget {
  return {
    prepare: async () => ({
      server: (await lab.baseline()).pid,
      postgres: (await lab.postgres()).pid,
      load: (await lab.load()).pid,
    }),
    where: async () => {
      const { sessions, [form]: port } = await lab.baseline()
      return { port, sessions, ledger: 'baseline' }
    },
  }
}

function node(lab: Lab, row: string, sessions: number): HttpTarget {
  return {
    prepare: async () => {
      await lab.sessions(row, sessions)
      return {
        server: (await lab.node('a')).pid,
        postgres: (await lab.postgres()).pid,
        load: (await lab.load()).pid,
      }
    },
    where: async () => ({
      port: (await lab.node('a')).port,
      sessions: await lab.sessions(row, sessions),
      ledger: 'starcite',
    }),
  }
}
