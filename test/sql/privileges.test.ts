import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { createLog } from '../../src/ops/log.ts'
import { appendEvents, briefly, createSessions } from '../support/appendEvents.ts'
import { type FreshDatabase, freshDatabase } from '../support/postgres.ts'
import { connect, migratedDatabase } from '../support/template.ts'

const APPEND = 'starcite.append(text, text, json, text, text, text, bigint, text, json, json, bigint, text)'

/** A role that lives as long as the tests below: roles belong to the server, not to a database. */
async function withRole(
  options: string,
  work: (role: string, admin: pg.Client) => Promise<void>,
): Promise<void> {
  const database = await migratedDatabase()
  const admin = await connect(database)
  const role = `starcite_test_${randomUUID().replaceAll('-', '')}`
  await admin.query(`create role ${role} ${options}`)
  try {
    await work(role, admin)
  } finally {
    await admin.query('rollback')
    await admin.query('reset role')
    await admin.query(`drop owned by ${role}`)
    await admin.query(`drop role ${role}`)
    await admin.end()
    await database.drop()
  }
}

describe('privileges', () => {
  it('let a role append that has EXECUTE on starcite.append and nothing else', async () => {
    await withRole('', async (role, db) => {
      await createSessions(db, 'a')
      await db.query(`grant usage on schema starcite to ${role}`)
      await db.query(`set role ${role}`)
      const call = `select a.seq::int from starcite.append('a', 't', '{}') a`

      expect(await db.query(call).catch((error) => error.code), 'before the grant').to.equal('42501')
      await db.query('reset role')
      await db.query(`grant execute on function ${APPEND} to ${role}`)
      await db.query(`set role ${role}`)

      expect((await db.query(call)).rows, 'it even makes the segment').to.deep.equal([{ seq: 1 }])
      await db.query(`select starcite.append('a', 't', '{}'::jsonb), starcite.append('a', 't', '{}'::json)`)
      for (const forbidden of [
        'select from starcite.events',
        'select from starcite.sessions',
        'update starcite.session_heads set last_seq = 0',
        `select starcite.create_session('default', 'b')`,
        'select starcite.ensure_segment(now())',
        `select starcite.framed('x')`,
        'create table starcite.mine ()',
      ])
        expect(await db.query(forbidden).catch((error) => error.code), forbidden).to.equal('42501')
    })
  })

  it('let no login shadow objects that code of the owner uses', async () => {
    await withRole('', async (role, db) => {
      await createSessions(db, 'a')
      await db.query(`grant usage on schema starcite to ${role}`)
      await db.query(`grant execute on function ${APPEND} to ${role}`)
      await db.query(`create schema trap authorization ${role}`)
      await db.query(`set role ${role}`)
      await db.query(
        `create function trap.spring() returns bytea language plpgsql as $$ begin raise 'caught'; end $$`,
      )
      for (const [name, args] of [
        ['sha256', 'bytea'],
        ['convert_to', 'text, name'],
        ['clock_timestamp', ''],
      ])
        await db.query(
          `create function trap.${name}(${args}) returns bytea language sql return trap.spring()`,
        )
      await db.query('create temp table sessions as select 666 as sid; create temp table events (sid bigint)')
      await db.query('set search_path = trap, pg_temp, pg_catalog')

      expect((await db.query(`select a.seq::int from starcite.append('a', 't', '{}') a`)).rows).to.deep.equal(
        [{ seq: 1 }],
      )
    })
  })

  it('needed by the owner are those of a plain role that owns its database', async () => {
    await withRole('', async (role, admin) => {
      const database: FreshDatabase = await freshDatabase()
      await admin.query(`alter database ${database.name} owner to ${role}`)
      const url = new URL(database.url)
      url.searchParams.set('options', `-c role=${role}`)

      await migrate(url.href, '0.0.0-test', createLog('silent'))
      const owner = new pg.Client({ connectionString: url.href })
      await owner.connect()
      await createSessions(owner, 'a')
      const outcomes = await appendEvents(owner, [{ session: 'a', producer: ['p', 1] }])
      const { rows } = await owner.query(
        `select distinct pg_get_userbyid(c.relowner) as owner from pg_class c where c.relnamespace = 'starcite'::regnamespace`,
      )
      await owner.end()
      await database.drop()

      expect(briefly(outcomes)).to.deep.equal(['appended 1'])
      expect(rows).to.deep.equal([{ owner: role }])
    })
  })
})
