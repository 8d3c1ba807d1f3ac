import { expect } from 'chai'
import { appendEvents } from '../support/appendEvents.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

/** So few that, by Postgres's costs, reading them all is cheaper than one look-up. */
const SESSIONS = 200
const IDS = Array.from({ length: SESSIONS }, (_, n) => `ses_${n}`)

describe('an append to some of few sessions', () => {
  const database = useDatabase()
  const db = useConnection(database)

  before(async () => {
    await db.query(`select starcite.create_session('default', n) from unnest($1::text[]) n`, [IDS])
    await db.query('analyze starcite.sessions, starcite.session_heads')
  })

  /** Rows of both tables that this session has read so far by scanning them, and by their indexes. */
  async function rowsRead(): Promise<Record<string, { scanned: number; fetched: number }>> {
    const { rows } = await db.query(
      `select json_object_agg(t.relname, json_build_object('scanned', t.seq_tup_read, 'fetched', t.idx_tup_fetch)) as read
         from pg_stat_xact_user_tables t
        where t.relid in ('starcite.sessions'::regclass, 'starcite.session_heads'::regclass)`,
    )
    return JSON.parse(rows[0].read)
  }

  for (const producer of [undefined, ['p', 1] as const])
    for (const count of [1, 100])
      it(`of ${count}, ${producer ? 'with' : 'without'} a producer, reads the rows of its sessions and no others`, async () => {
        await db.query('begin')
        const before = await rowsRead()
        const outcomes = await appendEvents(
          db,
          Array.from({ length: count }, (_, n) => ({
            session: IDS[n] as string,
            ...(producer && { producer }),
          })),
        )
        const after = await rowsRead()
        await db.query('rollback')

        expect(outcomes.map((outcome) => outcome.outcome)).to.deep.equal(Array(count).fill('appended'))
        for (const table of ['sessions', 'session_heads'] as const) {
          expect(after[table]!.scanned, table).to.equal(before[table]!.scanned)
          // A head is found, locked, and moved on.
          expect(after[table]!.fetched - before[table]!.fetched, table).to.be.within(count, 3 * count)
        }
      })
})
