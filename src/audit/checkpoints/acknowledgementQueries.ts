import type { Db } from '../../db/pool.ts'
import { IS_OPEN } from './contradictionQueries.ts'

/** A contradiction as it is shown to operators, with the names of audit.checkpoint_contradictions. */
export interface ListedContradiction {
  readonly tenant: string | null
  readonly session: string | null
  readonly number: number
  readonly signed_seq: number
  readonly found_seq: number | null
  readonly reason: string
  readonly found_at: string
  readonly acknowledged: boolean
}

const COLUMNS = `k.tenant_id, k.session_id, k.number, k.signed_seq, k.found_seq, k.reason, starcite.wire_time(k.found_at),
  k.acknowledged_at is not null`

/** The contradictions that no checkpoint has recorded, oldest first. */
export async function listContradictions(db: Db): Promise<ListedContradiction[]> {
  const text = `select ${COLUMNS} from starcite.checkpoint_contradictions k where ${IS_OPEN} order by k.id`
  return (await db.query({ text }, [])).map(decode)
}

/**
 * Acknowledges the contradictions of one session or of all. The next checkpoint then signs these sessions as they
 * are, with the reason. `db` must connect as the owner of the tables.
 */
export async function acknowledgeContradictions(
  db: Db,
  session: { readonly tenantId: string; readonly sessionId: string } | undefined,
  reason: string,
): Promise<ListedContradiction[]> {
  const text = `update starcite.checkpoint_contradictions k
                   set acknowledged_at = clock_timestamp(), acknowledged_by = session_user, acknowledged_reason = $3
                 where ${IS_OPEN} and k.acknowledged_at is null and k.tenant_id is not null
                   and ($1::text is null or (k.tenant_id = $1 and k.session_id = $2))
                returning ${COLUMNS}`
  return (await db.query({ text }, [session?.tenantId ?? null, session?.sessionId ?? null, reason])).map(
    decode,
  )
}

const decode = ([tenant, session, number, signed, found, reason, at, acknowledged]: readonly (
  | string
  | null
)[]): ListedContradiction => ({
  tenant: tenant ?? null,
  session: session ?? null,
  number: Number(number),
  signed_seq: Number(signed),
  found_seq: found == null ? null : Number(found),
  reason: reason as string,
  found_at: at as string,
  acknowledged: acknowledged === 't',
})
