import { generateKeyPairSync } from 'node:crypto'
import { CheckpointJob } from '../../src/audit/checkpoints/checkpointJob.ts'
import { KeySet } from '../../src/auth/keySet.ts'
import { NotifyQueue } from '../../src/db/notifyQueue.ts'
import type { Db, Query } from '../../src/db/pool.ts'
import { LifecycleFeed } from '../../src/lifecycle/feed.ts'
import { Sequencer } from '../../src/lifecycle/sequencer.ts'
import { Hub } from '../../src/live/hub.ts'
import { Listener } from '../../src/live/listener.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { ColdReader } from '../../src/tiering/cold/coldReader.ts'
import { PartitionCreator } from '../../src/tiering/partitionCreator.ts'
import { TieringJob } from '../../src/tiering/tieringJob.ts'
import { loopContract, type PassProbe } from '../support/loopContract.ts'

const log = createLog('silent')
const metrics = new Metrics()
const never = undefined as never

/** A database that answers these statements by their names; those named `probed` are the pass. */
function fakeDb(answers: Readonly<Record<string, string[][]>>, probe?: PassProbe, probed?: string): Db {
  const query = async ({ name = '' }: Query) => {
    if (name === probed) await probe?.enter()
    return answers[name] ?? []
  }
  return { query, renew: () => {} } as unknown as Db
}

loopContract('polling of the hub', {
  open: (probe, pollIntervalMs) => {
    const head = ['1', '0', '0', 'f', '0', '0', 'tenant', 'session', 'f']
    const db = fakeDb({ log_states: [head] }, probe, 'heads')
    const bounds = { ringEvents: 1, ringBytes: 1, ringSessionBytes: 1 }
    const hub = new Hub({ db, log, metrics, ...bounds, pollIntervalMs })
    hub.register('1')
    return { start: () => hub.start(), stop: () => hub.stop(), wake: () => hub.checkAll() }
  },
})

loopContract('polling of lifecycle feeds', {
  open: (probe, pollIntervalMs) => {
    const db = fakeDb({ feed_secret: [['00']] }, probe, 'lifecycle_heads')
    const feed = new LifecycleFeed({ db, log, metrics, pollIntervalMs })
    const leaving = new AbortController()
    const sink = { room: async () => {}, send: () => {} }
    void feed.follow({
      tenantId: 'tenant',
      cursor: { place: 0, number: 0 },
      sink,
      signal: leaving.signal,
    })
    return {
      start: () => feed.start(),
      stop: () => {
        leaving.abort() // the reader tries again after failures, with timers of its own
        return feed.stop()
      },
      wake: () => feed.checkAll(),
    }
  },
})

loopContract('the sequencer', {
  open: (probe, pollIntervalMs) => {
    const db = fakeDb({ place_changes: [['[]', '[]', 'f']] }, probe, 'place_changes')
    const sequencer = new Sequencer({
      db,
      log,
      pollIntervalMs,
      isListening: () => true,
      onFeedsGrown: () => {},
    })
    return {
      start: () => sequencer.start(),
      stop: () => sequencer.stop(),
      wake: () => sequencer.changed(),
    }
  },
})

loopContract('the partition creator', {
  canWake: false,
  open: (probe, intervalMs) => {
    const creator = new PartitionCreator(fakeDb({}), intervalMs, 0, log)
    creator.ensure = () => probe.enter()
    return creator
  },
})

loopContract('looking for removed content in the cold cache', {
  isSlow: true,
  open: (probe) => {
    const reader = new ColdReader({ db: fakeDb({}), store: never, cacheBytes: 1, log, metrics })
    reader.forgetStale = () => probe.enter()
    return {
      start: () => reader.start(),
      stop: () => reader.stop(),
      wake: () => reader.checkAll(),
    }
  },
})

loopContract('the tiering job', {
  open: (probe, intervalMs) => {
    const job = new TieringJob({
      url: '',
      connectTimeoutMs: 1,
      store: never,
      intervalMs,
      retentionGraceMs: 0,
      log,
      metrics,
    })
    job.pass = async () => {
      await probe.enter()
      return { ran: false, why: 'held' }
    }
    return job
  },
})

loopContract('the checkpoint job', {
  canWake: false,
  open: (probe, intervalMs) => {
    const job = new CheckpointJob({
      url: '',
      connectTimeoutMs: 1,
      store: never,
      signer: never,
      intervalMs,
      log,
      metrics,
    })
    job.pass = async () => {
      await probe.enter()
      return { ran: false, why: 'held' }
    }
    return job
  },
})

loopContract("the issuer's keys", {
  canWake: false,
  open: (probe, refreshMs) => {
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
    const keys = JSON.stringify({ keys: [{ ...key, kid: 'k', alg: 'ES256' }] })
    const { fetch } = globalThis
    globalThis.fetch = async () => {
      await probe.enter()
      return new Response(keys)
    }
    const set = new KeySet({ url: 'http://issuer.test/', refreshMs, maxAgeMs: 60_000, log })
    return {
      start: () => set.start(),
      stop: () => set.stop(),
      close: () => {
        globalThis.fetch = fetch
      },
    }
  },
})

loopContract('looking at the notification queue', {
  passes: false,
  open: (probe) => {
    const queue = new NotifyQueue(async () => {
      await probe.enter()
      return 0
    }, log)
    return { start: () => queue.start(), stop: () => queue.stop() }
  },
})

loopContract('the listener of a server that refuses connections', {
  passes: false,
  open: (probe) =>
    new Listener({
      get url() {
        probe.begun += 1
        return 'postgres://nobody@127.0.0.1:1/none'
      },
      notify: async () => {},
      log,
      onHead: () => {},
      onFeeds: () => {},
      onConnected: () => {},
      onDisconnected: () => {},
    }),
})
