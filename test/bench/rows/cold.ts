import { setTimeout as sleep } from 'node:timers/promises'
import { fillSegment } from '../cold/fill.ts'
import { s3Env } from '../cold/s3Env.ts'
import { createSessions, type Lab } from '../lab.ts'
import type { Case } from './case.ts'

const SESSIONS = 200
/** More than a job can copy while it is watched. */
const MILLION = 1_000_000
const REPLAYED = 100_000
/** Rounds, and the warming up: each replays a session that was not read since it moved. */
const REPLAYS = 6
const POLL_MS = 10

/** A segment of a million events that is due; rows that need one share it. */
export function dueMillion(lab: Lab): Promise<string> {
  return lab.once('a due segment', async () => {
    const sessions = await lab.sessions('due', SESSIONS)
    return fillSegment({ url: await lab.database('starcite'), sessions, events: MILLION })
  })
}

/** What is compared with rows of hot storage, round by round. */
export function coldCases(lab: Lab): Case[] {
  return [movingCase(lab), replayCase(lab)]
}

/** The appends of `ours-64`, beside a process that moves a segment meanwhile. */
function movingCase(lab: Lab): Case {
  let [events, seconds] = [0, 0]
  return {
    id: 'moving-64',
    group: 'cold',
    name: 'append while a segment is moved, 64 connections',
    get note() {
      return `meanwhile the job copied ${Math.round(events / seconds).toLocaleString('en')} events/s`
    },
    prepare: async () => {
      await dueMillion(lab)
      await lab.sessions('appends', SESSIONS)
      return {
        server: (await lab.node('a')).pid,
        postgres: (await lab.postgres()).pid,
        load: (await lab.load()).pid,
        job: (await lab.tier()).pid,
      }
    },
    run: async (duration) => {
      const [load, tier, node] = [await lab.load(), await lab.tier(), await lab.node('a')]
      const sessions = await lab.sessions('appends', SESSIONS)
      await tier.call('start', { url: await lab.database('starcite') })
      try {
        // Planning what to copy is a statement by itself.
        for (;;) {
          const { read, running } = await tier.call('progress', undefined as never)
          if (!running) throw new Error('the job ended before anything was appended')
          if (read > 0) break
          await sleep(POLL_MS)
        }
        const before = await tier.call('progress', undefined as never)
        const http = { port: node.port, sessions, connections: 64, seconds: duration, ledger: 'starcite' }
        const sample = await load.call('http', http)
        const after = await tier.call('progress', undefined as never)
        if (!after.running || after.read === before.read)
          throw new Error('no segment was being moved all the while')
        events += after.read - before.read
        seconds += sample.seconds
        return sample
      } finally {
        await tier.call('cut', undefined as never)
      }
    },
  }
}

/** The replay of `replay`, of events in objects of an S3 server on loopback. */
function replayCase(lab: Lab): Case {
  let replays = 0
  const s3 = async () => (await lab.s3()).call('settings', 'bench')
  const node = async () => lab.nodeOn('cold', 'cold', s3Env(await s3()))
  const sessions = () =>
    lab.once('events of replay-cold', async () => {
      await node() // which migrates
      const url = await lab.database('cold')
      const names = await createSessions(url, 'replay-cold', REPLAYS)
      await fillSegment({ url, sessions: names, events: REPLAYS * REPLAYED })
      await (await lab.tier()).call('move', { url, s3: await s3() })
      return names
    })
  return {
    id: 'replay-cold',
    group: 'cold',
    name: 'replay of 100,000 cold events, from S3 on loopback',
    note: 'each round replays a session that is not in the cache',
    prepare: async () => {
      await sessions()
      return {
        server: (await node()).pid,
        postgres: (await lab.postgres()).pid,
        s3: (await lab.s3()).pid,
        tails: (await lab.tails()).pid,
      }
    },
    run: async () => {
      const session = (await sessions())[replays++]
      if (session === undefined) throw new Error('every cold session was replayed already')
      const port = (await node()).port
      return (await lab.tails()).call('replay', { port, session, events: REPLAYED, batchSize: undefined })
    },
  }
}
