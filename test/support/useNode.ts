import type pg from 'pg'
import type { Service } from '../../src/service.ts'
import { type Settings, startNode } from './node.ts'
import { type FreshDatabase, freshDatabase } from './postgres.ts'
import { connect, migratedDatabase } from './template.ts'
import { use, useEach } from './use.ts'

/** A database with the schema, for the tests of this describe block. */
export const useDatabase = (): FreshDatabase => use(migratedDatabase)

/** A database with the schema, a new one for each test. */
export const useDatabaseEach = (): FreshDatabase => useEach(migratedDatabase)

/** A database without the schema. */
export const useEmptyDatabase = (): FreshDatabase => use(() => freshDatabase())

/** A connection to a database, with an empty search_path. */
export const useConnection = (database: { url: string }): pg.Client => use(() => connect(database))

/** A connection to a database, a new one for each test. */
export const useConnectionEach = (database: { url: string }): pg.Client => useEach(() => connect(database))

/** A node in this process. Settings that depend on something started before are given as a function. */
export const useNode = (database: { url: string }, settings: Settings | (() => Settings) = {}): Service =>
  use(() => startNode(database, typeof settings === 'function' ? settings() : settings))
