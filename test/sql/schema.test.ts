import { readFile, writeFile } from 'node:fs/promises'
import { expect } from 'chai'
import { describeSchema } from '../support/describeSchema.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const DESCRIPTION = new URL('schema.txt', import.meta.url)

describe('the schema', () => {
  const database = useDatabase()
  const db = useConnection(database)

  it('is the one that schema.txt describes (UPDATE_SCHEMA=1 rewrites it)', async () => {
    const actual = await describeSchema(db)
    if (process.env.UPDATE_SCHEMA) await writeFile(DESCRIPTION, actual)

    expect(actual).to.equal(await readFile(DESCRIPTION, 'utf8'))
  })

  it('gives PUBLIC nothing, but for two forms of starcite.append that take the right to the third', async () => {
    const { rows } = await db.query(
      `select 'function ' || p.oid::regprocedure as object
         from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
        where p.pronamespace in ('starcite'::regnamespace, 'audit'::regnamespace) and g.grantee = 0
        union all
       select 'relation ' || c.oid::regclass
         from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) g
        where c.relnamespace in ('starcite'::regnamespace, 'audit'::regnamespace) and g.grantee = 0
        union all
       select 'schema ' || n.nspname
         from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
        where n.nspname in ('starcite', 'audit') and g.grantee = 0`,
    )
    expect(rows.map(({ object }) => object).sort()).to.deep.equal([
      'function starcite.append(text,text,jsonb,text,text,text,bigint,text,jsonb,jsonb,bigint,text)',
      'function starcite.append(text,text,text,text,text,text,bigint,text,json,json,bigint,text)',
    ])
    const { rows: asOwner } = await db.query(
      `select from pg_proc p where p.proname = 'append' and p.pronamespace = 'starcite'::regnamespace and p.prosecdef`,
    )
    expect(asOwner).to.have.lengthOf(1)
  })

  it('pins the search_path of every function whose body is looked up when it runs, but for those that look nothing up', async () => {
    const { rows } = await db.query(
      `select p.proname, p.proconfig from pg_proc p
        where p.pronamespace in ('starcite'::regnamespace, 'audit'::regnamespace) and p.prokind = 'f' and p.prosqlbody is null`,
    )
    const unpinned = rows.filter((row) => !row.proconfig?.includes('search_path=pg_catalog, pg_temp'))
    // They are called for each event that an auditor reads; test/integration/searchPath.test.ts calls them.
    expect([...new Set(unpinned.map((procedure) => procedure.proname))].sort()).to.deep.equal([
      'as_jsonb', // qualifies all
      'chain_step', // qualifies all
      'past_tenants', // has no name in it
    ])
  })

  it('explains every table, every view and each of their columns', async () => {
    const { rows } = await db.query(
      `select c.oid::regclass || coalesce('.' || a.attname, '') as unexplained
         from pg_class c
        cross join lateral (select null as attname, 0 as attnum
                            union all
                            select a.attname, a.attnum from pg_attribute a
                             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) a
        where c.relnamespace in ('starcite'::regnamespace, 'audit'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
          and case a.attnum when 0 then obj_description(c.oid, 'pg_class') else col_description(c.oid, a.attnum) end is null`,
    )
    expect(rows).to.deep.equal([])
  })
})
