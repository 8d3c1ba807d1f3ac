import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { TieringLab } from '../support/tiering.ts'
import { useEach } from '../support/use.ts'

const SESSIONS = 5
/** Postgres samples no value of more than a kilobyte, and shows no single one. */
const SMALL_OBJECTS = 2

describe('erasing, in statistics', () => {
  const lab = useEach(() => TieringLab.open())

  /** Which columns of which tables Postgres quotes any of these values of. */
  async function quoted(values: readonly string[]): Promise<string[]> {
    const { rows } = await lab.db.query(
      `select distinct regexp_replace(s.tablename, '^events_.*', 'a segment') || '.' || s.attname as name
         from pg_stats s cross join unnest($1::text[]) as v (value)
        where s.schemaname = 'starcite' and strpos(s::text, v.value) > 0 order by 1`,
      [values],
    )
    return rows.map(({ name }) => name)
  }

  for (const whole of [false, true])
    it(`with vacuum, leaves neither titles, nor salts, nor digests, nor objects${whole ? ', also where an operator has analyzed all segments as one' : ''}`, async () => {
      const secret = `secret-${randomUUID()}`
      for (let n = 0; n < SESSIONS; n += 1) {
        await lab.db.query(`select starcite.create_session('default', $1, $2)`, [
          `victim ${n}`,
          `${secret} ${n}`,
        ])
        await lab.db.query(`select starcite.create_session('default', $1, $2)`, [`other ${n}`, `title ${n}`])
      }
      const fill = (round: number) =>
        lab.append(
          ['victim', 'other'].flatMap((name) =>
            Array.from({ length: SESSIONS * 2 }, (_, n) => ({
              session: `${name} ${n % SESSIONS}`,
              payload: `{"text":"${name} ${secret} ${n}"}`,
              producer: ['p', 2 * round + Math.floor(n / SESSIONS) + 1] as const,
            })),
          ),
        )
      for (let n = 0; n < SMALL_OBJECTS; n += 1) {
        await lab.append([{ session: 'victim 0', payload: `{"text":"${secret}"}` }])
        await lab.move()
      }
      await fill(0)
      await lab.move()
      await fill(1)
      const { rows } = await lab.db.query<{ value: string }>(
        `select e.salt::text as value from starcite.events e join starcite.sessions s using (sid) where s.id ^@ 'victim'
         union all select p.digest::text from starcite.producers p join starcite.sessions s using (sid) where s.id ^@ 'victim'
         union all select s.title from starcite.sessions s where s.id ^@ 'victim'
         union all select right(a.body::text, 100) from starcite.archive_objects a`,
      )
      const values = rows.map((row) => row.value)
      const tables = ['sessions', 'session_changes', 'producers', 'archive_objects']
      for (const table of tables) await lab.db.query(`analyze starcite.${table}`)
      const segments = (await lab.segments()).filter(({ attached }) => attached)
      for (const { name } of whole ? [{ name: 'events' }] : segments)
        await lab.db.query(`analyze starcite.${name}`)
      expect(await quoted(values)).to.deep.equal([
        'a segment.salt',
        'archive_objects.body',
        ...(whole ? ['events.salt'] : []),
        'producers.digest',
        'session_changes.title',
        'sessions.title',
      ])

      await lab.db.query(`update starcite.settings s set value = '10 years' where s.name = 'hot_retention'`)
      for (let n = 0; n < SESSIONS; n += 1)
        await lab.db.query(`select starcite.erase_session('default', $1, null, null, null, $2)`, [
          `victim ${n}`,
          n === SESSIONS - 1,
        ])
      await lab.move()

      expect(await quoted(values)).to.deep.equal([])
      const { rows: kept } = await lab.db.query(
        `select exists (select from pg_stats s where s.schemaname = 'starcite' and s.tablename = 'events') as whole`,
      )
      expect(kept[0].whole, 'plans are made as before').to.equal(whole)
    })
})
