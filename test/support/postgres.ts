import { randomUUID } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import path from 'node:path'
import pg from 'pg'
import { readPostmaster } from '../../src/db/embedded/postmaster.ts'
import { startTimeOf } from '../../src/db/embedded/processes.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { stopServer } from '../../src/db/embedded/stop.ts'
import { scratchDirectory } from './scratch.ts'
import { serverPackage } from './serverPackage.ts'

const THROW_AWAY = /^starcite-test-(?<pid>\d+)-[0-9a-f]{8}$/

export interface FreshDatabase {
  readonly url: string
  readonly name: string
  /** Also ends the connections that are still open to it. */
  drop(): Promise<void>
}

let starting: Promise<EmbeddedPostgres> | undefined
const undropped = new Set<FreshDatabase>()

/**
 * The server that tests create their databases on: the one STARCITE_TEST_DATABASE_URL names (as a user
 * who may create databases), or a throw-away one of this process.
 */
export async function testServer(): Promise<{ url: string }> {
  const given = process.env.STARCITE_TEST_DATABASE_URL
  if (given) return { url: given }
  // A failed start is forgotten, so that each test reports it and the next run of a watcher tries again.
  starting ??= startThrowAway().catch((cause) => {
    starting = undefined
    throw cause
  })
  return { url: (await starting).url }
}

async function startThrowAway(): Promise<EmbeddedPostgres> {
  await removeLeftovers()
  const dir = path.join(scratchDirectory(), `starcite-test-${process.pid}-${randomUUID().slice(0, 8)}`)
  return startEmbeddedPostgres({ dir, durable: false, pack: await serverPackage() })
}

/** Ends the servers of test processes that were killed: the server outlives its process by design. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(scratchDirectory())) {
    const pid = THROW_AWAY.exec(name)?.groups?.pid
    if (pid === undefined || (await startTimeOf(Number(pid))) !== undefined) continue
    const dir = path.join(scratchDirectory(), name)
    try {
      const server = await readPostmaster(dir)
      if (server !== undefined) await stopServer(server.pid, dir)
      await rm(dir, { recursive: true, force: true })
    } catch {
      // Another user's, or another test process is removing it at this moment.
    }
  }
}

export async function stopTestServer(): Promise<void> {
  const server = await starting
  starting = undefined
  if (server === undefined) {
    for (const database of undropped) await database.drop() // templates; the server is not ours to throw away
    return
  }
  await server.stop()
  await rm(server.dir, { recursive: true, force: true })
}

/** An empty database, or a copy of `template`, under a name that no other test has, in any process. */
export async function freshDatabase(options: { template?: string } = {}): Promise<FreshDatabase> {
  const { url: server } = await testServer()
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const template = options.template ?? 'template0'
  await command(server, `create database ${name} template ${pg.escapeIdentifier(template)}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const database: FreshDatabase = {
    url: url.href,
    name,
    drop: async () => {
      undropped.delete(database)
      await command(server, `drop database if exists ${name} with (force)`)
    },
  }
  undropped.add(database)
  return database
}

async function command(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
