import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { type ThrowAwayPostgres, throwAwayPostgres } from './throwAwayPostgres.ts'

export interface FreshDatabase {
  readonly url: string
  readonly name: string
  /** Also ends the connections that are still open to it. */
  drop(): Promise<void>
}

let starting: Promise<ThrowAwayPostgres> | undefined
const undropped = new Set<FreshDatabase>()

/**
 * The server that tests create their databases on: the one STARCITE_TEST_DATABASE_URL names (as a user
 * who may create databases), or a throw-away one of this process.
 */
export async function testServer(): Promise<{ url: string }> {
  const given = process.env.STARCITE_TEST_DATABASE_URL
  if (given) return { url: given }
  // A failed start is forgotten, so that each test reports it and the next run of a watcher tries again.
  starting ??= throwAwayPostgres().catch((cause) => {
    starting = undefined
    throw cause
  })
  return { url: (await starting).server.url }
}

export async function stopTestServer(): Promise<void> {
  const own = await starting
  starting = undefined
  if (own === undefined) {
    for (const database of undropped) await database.drop() // templates; the server is not ours to throw away
    return
  }
  await own.end()
}

/** An empty database, or a copy of `template`, under a name that no other test has, in any process. */
export async function freshDatabase(options: { template?: string } = {}): Promise<FreshDatabase> {
  const { url: server } = await testServer()
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const template = options.template ?? 'template0'
  await command(
    server,
    `create database ${name} template ${pg.escapeIdentifier(template)} ${await strategy(server)}`,
  )
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

let known: Promise<string> | undefined

/** Of a small database, a copy of its files takes half the processor time of one through the log. Postgres 14 knows no other. */
function strategy(server: string): Promise<string> {
  known ??= command(server, 'show server_version_num').then(([row]) =>
    Number(row?.server_version_num) >= 150_000 ? 'strategy file_copy' : '',
  )
  return known
}

async function command(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}
