import type pg from 'pg'

/** Of these, the tables first; each row is one line of the description. */
const PARTS: readonly string[] = [
  `select case when c.relkind in ('r', 'p') then 'table ' else 'view ' end || c.relname || coalesce(' ' || pg_get_partkeydef(c.oid), '')
            || coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', '') as line,
          c.relname || ' 0' as place
     from pg_class c where c.relnamespace = 'starcite'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')`,
  `select '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
            || case when a.attcollation not in (0, 100) then ' collate ' || quote_ident(l.collname) else '' end
            || case when a.attnotnull then ' not null' else '' end
            || case a.attidentity when 'a' then ' generated always as identity' when 'd' then ' generated as identity'
                 else '' end
            || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''),
          c.relname || ' 1' || to_char(a.attnum, '000')
     from pg_attribute a
     join pg_class c on c.oid = a.attrelid and c.relnamespace = 'starcite'::regnamespace
                    and c.relkind in ('r', 'p', 'v', 'm')
     left join pg_collation l on l.oid = a.attcollation
     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped`,
  // Not-null constraints, which have names from Postgres 18 on, stand with their columns.
  `select '  constraint ' || k.conname || ' ' || pg_get_constraintdef(k.oid), c.relname || ' 2' || k.conname
     from pg_constraint k
     join pg_class c on c.oid = k.conrelid and c.relnamespace = 'starcite'::regnamespace
    where k.contype <> 'n'`,
  `select '  index ' || i.relname || case when x.indisunique then ' unique' else '' end
            || regexp_replace(pg_get_indexdef(x.indexrelid), '^.* USING', ' using'),
          c.relname || ' 3' || i.relname
     from pg_index x
     join pg_class i on i.oid = x.indexrelid
     join pg_class c on c.oid = x.indrelid and c.relnamespace = 'starcite'::regnamespace
    where not exists (select from pg_constraint k where k.conindid = x.indexrelid)`,
  `select '  trigger ' || t.tgname || ' ' || pg_get_triggerdef(t.oid), c.relname || ' 4' || t.tgname
     from pg_trigger t
     join pg_class c on c.oid = t.tgrelid and c.relnamespace = 'starcite'::regnamespace
    where not t.tgisinternal`,
  `select '  grant ' || c.privilege_type || ' to ' || coalesce(nullif(c.grantee, 0)::regrole::text, 'public'),
          c.relname || ' 5' || c.privilege_type
     from (select r.relname, r.relowner, (aclexplode(r.relacl)).*
             from pg_class r where r.relnamespace = 'starcite'::regnamespace and r.relkind in ('r', 'p', 'v', 'm')) c
    where c.grantee <> c.relowner`,
  `select '  grant ' || c.privilege_type || ' (' || c.attname || ') to ' || c.grantee::regrole, c.relname || ' 5' || c.privilege_type
     from (select r.relname, a.attname, (aclexplode(a.attacl)).*
             from pg_class r join pg_attribute a on a.attrelid = r.oid where r.relnamespace = 'starcite'::regnamespace) c`,
  `select '  row security', c.relname || ' 6' from pg_class c
    where c.relnamespace = 'starcite'::regnamespace and c.relrowsecurity`,
  `select '  policy ' || p.policyname || ' for ' || p.cmd || ' to ' || array_to_string(p.roles, ', ')
            || ' using ' || regexp_replace(p.qual, '\\s+', ' ', 'g'), p.tablename || ' 7' || p.policyname
     from pg_policies p where p.schemaname = 'starcite'`,
  `select case p.prokind when 'a' then 'aggregate ' when 'p' then 'procedure ' else 'function ' end || p.proname,
          '~' || p.proname || ' 0'
     from pg_proc p where p.pronamespace = 'starcite'::regnamespace`,
  `select '  ' || u.line, '~' || p.proname || ' 1' || u.n
     from pg_proc p
     join pg_language l on l.oid = p.prolang
    cross join lateral unnest(array[
            '(' || pg_get_function_arguments(p.oid) || ')',
            'returns ' || pg_get_function_result(p.oid),
            'language ' || l.lanname || case p.provolatile when 'i' then ' immutable' when 's' then ' stable'
              else ' volatile' end || case when p.prosecdef then ' security definer' else '' end
              || case p.proparallel when 's' then ' parallel safe' else '' end,
            'set ' || array_to_string(p.proconfig, '; ')]) with ordinality as u (line, n)
    where p.pronamespace = 'starcite'::regnamespace and u.line is not null`,
  `select '  grant ' || c.privilege_type || ' to ' || coalesce(nullif(c.grantee, 0)::regrole::text, 'public'),
          '~' || c.proname || ' 2'
     from (select p.proname, p.proowner, (aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))).*
             from pg_proc p where p.pronamespace = 'starcite'::regnamespace) c
    where c.grantee <> c.proowner`,
]

/** The schemas, in words that change when and only when it does: from the catalogs, the same on every Postgres. */
export async function describeSchema(db: pg.Client): Promise<string> {
  const lines: string[] = []
  for (const schema of ['starcite', 'audit']) {
    const parts = PARTS.join('\nunion all\n').replaceAll(`'starcite'`, `'${schema}'`)
    const { rows } = await db.query<{ line: string }>(
      `select x.line from (${parts}) x order by x.place collate "C", x.line collate "C"`,
    )
    lines.push(`\nschema ${schema}`, ...rows.map(({ line }) => (line.startsWith(' ') ? line : `\n${line}`)))
  }
  return lines.join('\n').trimStart().concat('\n')
}
