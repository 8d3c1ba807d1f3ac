import type { DbSession } from '../../db/session.ts'

// All of these run on the one connection that holds the job's lock.

export interface StorePrefix {
  readonly tenantId: string
  readonly segment: string
}

/**
 * The tenants and segments whose prefixes in the store may have copies of erased content that are not in the
 * manifest.
 */
export async function prefixesOf(session: DbSession, erasureIds: readonly string[]): Promise<StorePrefix[]> {
  const rows = await session.query(
    `select e.tenant_id, e.segment from starcite.erasures e
      where e.erasure_id = any ($1::bigint[]) and e.kind = 'segment'
      union
     select o.tenant_id, o.segment
       from starcite.erasures e
       join starcite.slices s on s.sid = e.sid and s.first_seq <= e.last_seq and s.last_seq >= e.first_seq
       join starcite.objects o on o.object_id = s.object_id
       join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
      where e.erasure_id = any ($1::bigint[])
      union
     select e.tenant_id, g.name
       from starcite.erasures e
       join starcite.segments g on g.kept_events is not null
      where e.erasure_id = any ($1::bigint[])
        and exists (select from starcite.set_aside a where a.sid = e.sid)`,
    [erasureIds],
  )
  return rows.map(([tenantId, segment]) => ({ tenantId: tenantId as string, segment: segment as string }))
}

/** The keys, of those given, that no object of the manifest has. */
export async function unnamed(session: DbSession, keys: readonly string[]): Promise<string[]> {
  const rows = await session.query(
    `select k.key from unnest($1::text[]) as k (key)
      where not exists (select from starcite.objects o where o.key = k.key collate "C")`,
    [keys],
  )
  return rows.map(([key]) => key as string)
}

export async function supersededObjects(session: DbSession): Promise<string[]> {
  const rows = await session.query('select s.key from starcite.superseded_objects s order by s.superseded_at')
  return rows.map(([key]) => key as string)
}

export async function forgetSuperseded(session: DbSession, key: string): Promise<void> {
  await session.query('delete from starcite.superseded_objects s where s.key = $1', [key])
}
