import { createHash } from 'node:crypto'
import type pg from 'pg'
import { Db } from '../../src/db/pool.ts'
import { Hub } from '../../src/live/hub.ts'
import type { RetryPolicy } from '../../src/objects/attempts.ts'
import type { ObjectStore } from '../../src/objects/objectStore.ts'
import { PostgresStore } from '../../src/objects/postgresStore.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { History, type HistoryRequest } from '../../src/tail/history.ts'
import { EventLog } from '../../src/tail/log.ts'
import { MissingEvents } from '../../src/tail/missingEvents.ts'
import { Tails } from '../../src/tail/tail.ts'
import { ColdReader } from '../../src/tiering/cold/coldReader.ts'
import { TieringJob, type TieringOptions } from '../../src/tiering/tieringJob.ts'
import { appendEvents, type EventItem } from './appendEvents.ts'
import type { FreshDatabase } from './postgres.ts'
import { connect, migratedDatabase } from './template.ts'
import { until } from './until.ts'

/** Gives up within the time of a test: for stores that are made to fail, and for nothing else. */
export const HASTY: RetryPolicy = { attempts: 3, attemptMs: 400, pauseMs: 2, maxPauseMs: 10 }

/** A loaded machine needs it; what is tested for its time-outs has pools of its own. */
const PATIENT_MS = 30_000
const SILENT = createLog('silent')
const ITEMS_PER_CALL = 1000

/** Which events a reader asks for, and how. */
export type Reading = Partial<Pick<HistoryRequest, 'order' | 'type' | 'actor' | 'limit'>>

/** Every way to read a session that a move must not show in. */
export const READINGS: Readonly<Record<string, Reading>> = {
  'from the start': { limit: 97 },
  'from the end': { order: 'desc', limit: 89 },
  'by type': { type: 'state', limit: 13 },
  'by actor, from the end': { actor: 'user:u', order: 'desc', limit: 11 },
}

/**
 * A database with the parts of a node that read from it, and jobs that move its segments. Every segment there is, is due
 * at once: `hot_retention` is below zero, and an append after a move gets a time in the next segment.
 */
export class TieringLab {
  readonly database: FreshDatabase
  readonly db: pg.Client
  readonly pool: Db
  readonly metrics = new Metrics()
  readonly store: ObjectStore
  readonly cold: ColdReader
  readonly hub: Hub
  readonly history: History
  readonly tails: Tails
  readonly #jobs: TieringJob[] = []

  private constructor(database: FreshDatabase, db: pg.Client, pool: Db, store: ObjectStore) {
    this.database = database
    this.db = db
    this.pool = pool
    this.store = store
    const { metrics } = this
    const common = { db: pool, log: SILENT, metrics }
    this.cold = new ColdReader({ ...common, store, cacheBytes: 64 * 1024 * 1024 })
    this.hub = new Hub({
      ...common,
      ringEvents: 100,
      ringBytes: 1024 * 1024,
      ringSessionBytes: 1024 * 1024,
      pollIntervalMs: 50,
    })
    this.hub.start()
    const missing = new MissingEvents(pool, SILENT, metrics)
    this.history = new History(pool, this.cold, this.hub, missing)
    this.tails = new Tails(this.hub, new EventLog(pool, this.cold, metrics, missing), SILENT, metrics)
  }

  /** Objects are kept in `store`; without one, in the database. */
  static async open(store?: ObjectStore, database?: FreshDatabase): Promise<TieringLab> {
    database ??= await migratedDatabase()
    const db = await connect(database)
    await db.query(`update starcite.settings s set value = '1 hour' where s.name = 'segment_interval'`)
    const pool = poolOf(database.url, PATIENT_MS)
    const lab = new TieringLab(database, db, pool, store ?? new PostgresStore(pool))
    await lab.makeAllDue()
    return lab
  }

  async close(): Promise<void> {
    await Promise.all(this.#jobs.map((job) => job.stop()))
    await this.hub.stop()
    await this.store.stop()
    await this.pool.stop()
    await this.db.end()
    await this.database.drop()
  }

  /** To be called again once a node has started: it sets the retention of its own configuration. */
  async makeAllDue(): Promise<void> {
    await this.db.query(`update starcite.settings s set value = '-10 years' where s.name = 'hot_retention'`)
  }

  job(options: Partial<TieringOptions> = {}): TieringJob {
    const job = new TieringJob({
      url: this.database.url,
      connectTimeoutMs: 5000,
      store: this.store,
      intervalMs: 10,
      retentionGraceMs: 0,
      log: SILENT,
      metrics: this.metrics,
      ...options,
    })
    this.#jobs.push(job)
    return job
  }

  /** Moves all there is. */
  async move(options: Partial<TieringOptions> = {}): Promise<void> {
    const result = await this.job(options).pass()
    if (!result.ran) throw new Error('another job has the lock')
  }

  /** Moves also what does not verify, as if it had been damaged where it is now. */
  async moveDamaged(): Promise<void> {
    await this.move()
    await this.db.query(
      `select starcite.give_up_session(s.tenant_id, s.id, 'a test')
         from starcite.set_aside a join starcite.sessions s on s.sid = a.sid where a.ended_at is null`,
    )
    await this.move()
  }

  /** A session of a release that took every id, control characters too. Answers its sid. */
  async oldSession(id: string, tenant = 'default'): Promise<string> {
    const { rows } = await this.db.query(
      `with s as (insert into starcite.sessions (tenant_id, id) values ($1, $2) returning sid, tenant_id, id)
       insert into starcite.session_heads (sid, chain_hash)
       select s.sid, starcite.genesis_hash(s.tenant_id, s.id) from s returning sid`,
      [tenant, id],
    )
    return rows[0].sid
  }

  /** Creates a session and answers its sid. */
  async session(id: string, tenant = 'default'): Promise<string> {
    const { rows } = await this.db.query('select starcite.create_session($1, $2) as sid', [tenant, id])
    return rows[0].sid
  }

  async append(items: readonly EventItem[]): Promise<void> {
    for (let i = 0; i < items.length; i += ITEMS_PER_CALL)
      for (const { outcome } of await appendEvents(this.db, items.slice(i, i + ITEMS_PER_CALL)))
        if (outcome !== 'appended') throw new Error(`an event was not appended: ${outcome}`)
  }

  async lastSeq(sid: string): Promise<number> {
    const text = 'select h.last_seq from starcite.session_heads h where h.sid = $1'
    const [row] = await this.pool.query({ text }, [sid])
    return Number(row?.[0])
  }

  /** A session as pages of history show it; frames, oldest first. */
  async read(sid: string, { order = 'asc', type = null, actor = null, limit = 1000 }: Reading = {}) {
    const lastSeq = await this.lastSeq(sid)
    const frames: string[] = []
    for (let cursor: number | undefined; ; ) {
      const request = { sid, lastSeq, cursor, limit, order, type, actor, waitMs: 0 }
      const page = await this.history.page({ ...request, signal: new AbortController().signal })
      frames.push(...page.events.map(({ text }) => text))
      if (page.nextCursor === null || (order === 'asc' && page.nextCursor >= lastSeq)) break
      cursor = page.nextCursor
    }
    return order === 'asc' ? frames : frames.reverse()
  }

  /** A session as a tail delivers it, up to its present end. */
  async tail(sid: string, cursor = 0): Promise<string[]> {
    const tail = this.follow(sid, { cursor, until: await this.lastSeq(sid) })
    await tail.ended
    return tail.frames
  }

  /** A tail that goes on until it is stopped, or has delivered `until`. */
  follow(sid: string, options: { cursor?: number; until?: number } = {}): FollowingTail {
    return new FollowingTail(this.tails, sid, options.cursor ?? 0, options.until)
  }

  /** All that a reader can be shown of a session, by every reading and by a tail. */
  async shown(sid: string): Promise<Record<string, string[]>> {
    const shown: Record<string, string[]> = { 'by a tail': await this.tail(sid) }
    for (const [name, reading] of Object.entries(READINGS)) shown[name] = await this.read(sid, reading)
    return shown
  }

  async segments(): Promise<{ name: string; state: string; events: number | null; attached: boolean }[]> {
    const { rows } = await this.db.query(
      `select g.name, g.state, g.events::int,
              exists (select from pg_catalog.pg_inherits i where i.inhrelid = to_regclass('starcite.' || g.name)) as attached
         from starcite.segments g order by g.from_at`,
    )
    return rows
  }

  async count(from: 'events' | 'objects' | 'slices'): Promise<number> {
    const { rows } = await this.db.query(`select count(*)::int as n from starcite.${from}`)
    return rows[0].n
  }
}

/** Collects what a tail delivers, and every breach of its order. */
export class FollowingTail {
  readonly frames: string[] = []
  readonly faults: string[] = []
  /** Resolves when the tail has ended; rejects when it ended by a fault. */
  readonly ended: Promise<void>
  readonly #stopping = new AbortController()

  constructor(tails: Tails, sid: string, cursor: number, until: number | undefined) {
    let next = cursor + 1
    const sink = {
      readsAhead: true,
      send: (frames: readonly { seq: number; text: string }[]) => {
        for (const { seq, text } of frames) {
          if (seq !== next) this.faults.push(`${seq} came instead of ${next}`)
          next = seq + 1
          this.frames.push(text)
        }
      },
      room: () => Promise.resolve(),
    }
    this.ended = tails.run({ sid, cursor, until, sink, signal: this.#stopping.signal })
    this.ended.catch(() => {})
  }

  async has(events: number, timeoutMs?: number): Promise<void> {
    await until(`the tail has ${events} events`, () => this.frames.length >= events, timeoutMs)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.ended
  }
}

export function poolOf(url: string, timeoutMs = 5000): Db {
  return new Db({
    url,
    size: 4,
    applicationName: 'tiering test',
    timeoutMs,
    preparedStatements: true,
    log: SILENT,
  })
}

/** Events of every kind that a session may have, `count` for each, mixed; the same for the same arguments. */
export function someEvents(
  sessions: readonly Pick<EventItem, 'session' | 'tenant'>[],
  count: number,
): EventItem[] {
  return Array.from({ length: count }, (_, n) =>
    sessions.map(
      (session): EventItem => ({
        ...session,
        type: n % 5 === 0 ? 'state' : 'content',
        actor: n % 3 === 0 ? 'user:u' : 'agent:ä',
        payload: PAYLOADS[n % PAYLOADS.length] ?? `{"n":${n},"text":"${'word '.repeat(n % 40)}"}`,
        ...(n % 4 === 0 && { producer: ['p', n / 4 + 1] as const }),
        ...(n % 7 === 0 && {
          key: `key ${n}`,
          source: 'web',
          metadata: '{"a": [1,  2]}',
          refs: '{ "r":"\\u00e9" }',
        }),
      }),
    ),
  ).flat()
}

/** What a format of lines could trip over. */
const PAYLOADS: readonly (string | undefined)[] = [
  '{}',
  '{"text":"\\ud83d"}',
  '{\n  "text": "over lines",\r\n  "n": 12345678901234567890.00\n}',
  '{"session_id":"mine","salt":null,"text":",\\"session_id\\":\\"x\\"}"}',
  ...Array.from({ length: 5 }, () => undefined),
]

export const sha256 = (frames: readonly string[]) =>
  createHash('sha256').update(frames.join('\n')).digest('hex')
