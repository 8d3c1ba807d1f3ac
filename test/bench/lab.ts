import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { type Stoppable, StopStack } from '../../src/lib/stopStack.ts'
import { Child } from './calls.ts'
import type { CheckpointHandlers } from './checkpoints/checkpointChild.ts'
import type { S3Handlers } from './cold/s3Child.ts'
import type { TierHandlers } from './cold/tierChild.ts'
import { appendEvents } from './load/appendEvents.ts'
import type { LoadHandlers } from './load/loadChild.ts'
import type { TailHandlers } from './load/tailChild.ts'
import { StarciteNode } from './node.ts'
import { agentEvents, sessionNames } from './payloads.ts'
import type { BaselineHandlers } from './servers/baseline.ts'
import type { FloorHandlers } from './servers/floor.ts'

const FILL_AT_ONCE = 500
const ROOT = path.join(import.meta.dirname, '../..')

/** Everything that rows run against, each started when it is first asked for, all of it stopped by `stop`. */
export class Lab {
  readonly #stack = new StopStack()
  readonly #started = new Map<string, Promise<unknown>>()
  readonly #profileDir: string | undefined
  readonly #settings: Readonly<Record<string, string>>
  #stopped = false

  /** `settings` are Postgres's. */
  constructor(options: {
    profileDir: string | undefined
    settings?: Readonly<Record<string, string>>
  }) {
    this.#profileDir = options.profileDir
    this.#settings = options.settings ?? {}
  }

  /** Durable: every figure that involves a commit involves a flush to the disk. */
  readonly postgres = (): Promise<EmbeddedPostgres> => this.ownPostgres('bench')

  /** Another, for a row that needs settings of its own. */
  ownPostgres(name: string, settings: Readonly<Record<string, string>> = {}): Promise<EmbeddedPostgres> {
    return this.once(`postgres ${name}`, async () => {
      // Beside the code, not in a temporary directory, which may be memory.
      const dir = path.join(ROOT, '.starcite', `${name}-${process.pid}`)
      await mkdir(path.dirname(dir), { recursive: true })
      const server = await startEmbeddedPostgres({ dir, settings: { ...settings, ...this.#settings } })
      this.#stack.add('the data directory', { stop: () => rm(server.dir, { recursive: true, force: true }) })
      return this.#stack.add('postgres', server)
    })
  }

  /** The URL of a database of this name; made empty at first. */
  readonly database = (name: string): Promise<string> =>
    this.once(`database ${name}`, async () => {
      const { url } = await this.postgres()
      await query(url, `create database ${pg.escapeIdentifier(name)}`)
      return Object.assign(new URL(url), { pathname: `/${name}` }).href
    })

  readonly node = (name: 'a' | 'b'): Promise<StarciteNode> => this.nodeOn('starcite', name)

  /** A node that nothing else uses, which can be asked for its memory. */
  readonly nodeForMemory = (what: string): Promise<StarciteNode> =>
    this.nodeOn('starcite', `for the memory of ${what}`, {}, new URL('memoryProbe.mjs', import.meta.url))

  /** One by this name, on a database of its own or another's; the first to start migrates it. */
  nodeOn(
    database: string,
    name: string,
    env: Readonly<Record<string, string>> = {},
    probe?: URL,
  ): Promise<StarciteNode> {
    return this.once(`node ${name}`, async () => {
      const options = {
        databaseUrl: await this.database(database),
        profileDir: this.#profileDir,
        settings: env,
        ...(probe && { probe }),
      }
      return this.#stack.add(name, await StarciteNode.start(options))
    })
  }

  /** Sessions of this row, and the URL of the database that they are in. */
  async sessions(row: string, count: number): Promise<string[]> {
    return this.once(`sessions ${row}`, async () => {
      await this.node('a') // which migrates
      return createSessions(await this.database('starcite'), row, count)
    })
  }

  /** A session that already has this many events. */
  async filledSession(row: string, events: number): Promise<string> {
    const [session] = await this.sessions(row, 1)
    await this.once(`events of ${row}`, async () => {
      const url = await this.database('starcite')
      await connected(url, async (client) => {
        for (let from = 0; from < events; from += FILL_AT_ONCE) {
          const some = agentEvents(Math.min(FILL_AT_ONCE, events - from), from)
          await appendEvents(client, Array(some.length).fill(session), some)
        }
      })
    })
    return session!
  }

  /** Ended with the rest. */
  async keep<T extends Stoppable>(name: string, start: () => Promise<T>): Promise<T> {
    return this.once(name, async () => this.#stack.add(name, await start()))
  }

  readonly load = () => this.#child<LoadHandlers>('load/loadChild.ts')
  readonly tails = () => this.#child<TailHandlers>('load/tailChild.ts')

  readonly tier = () => this.#child<TierHandlers>('cold/tierChild.ts')
  readonly checkpoints = () => this.#child<CheckpointHandlers>('checkpoints/checkpointChild.ts')
  readonly s3 = () => this.#child<S3Handlers>('cold/s3Child.ts')

  readonly floor = () =>
    this.once('floor', async () => {
      const child = await this.#child<FloorHandlers>('servers/floor.ts')
      return { pid: child.pid, port: await child.call('listen', undefined as never) }
    })

  readonly baseline = () =>
    this.once('baseline', async () => {
      const [url, sessions] = [await this.database('baseline'), sessionNames('baseline', 200)]
      const child = await this.#child<BaselineHandlers>('servers/baseline.ts')
      return { url, sessions, pid: child.pid, ...(await child.call('listen', { url, sessions })) }
    })

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.allSettled(this.#started.values())
    await this.#stack.stop()
  }

  #child<H extends Readonly<Record<string, (argument: never) => Promise<unknown>>>>(script: string) {
    return this.once(script, async () =>
      this.#stack.add(script, new Child<H>(new URL(script, import.meta.url))),
    )
  }

  /** What `start` comes to, which is called the first time. */
  once<T>(name: string, start: () => Promise<T>): Promise<T> {
    if (this.#stopped) return Promise.reject(new Error('the benchmark was stopped'))
    const known = this.#started.get(name) as Promise<T> | undefined
    if (known !== undefined) return known
    const started = start()
    this.#started.set(name, started)
    return started
  }
}

/** In a database that has been migrated. */
export async function createSessions(url: string, row: string, count: number): Promise<string[]> {
  const names = sessionNames(row, count)
  await query(url, `select starcite.create_session('default', n) from unnest($1::text[]) n`, [names])
  return names
}

export function query(url: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return connected(url, async (client) => (await client.query(text, values)).rows)
}

async function connected<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
