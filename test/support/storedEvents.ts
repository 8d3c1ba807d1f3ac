import type pg from 'pg'
import type { Sent } from './chaosWriter.ts'

export interface Stored {
  readonly session: string
  readonly seq: number
  /** Of its payload. */
  readonly id: string
  readonly producerId: string | null
  readonly producerSeq: number
}

/** All that is stored, by session, in order. */
export async function storedEvents(db: pg.Client): Promise<Map<string, Stored[]>> {
  const { rows } = await db.query(
    `select s.id as session, e.seq::int, e.payload ->> 'id' as id, e.producer_id, e.producer_seq::int
       from starcite.events e join starcite.sessions s on s.sid = e.sid order by e.sid, e.seq`,
  )
  const all = rows.map(
    ({ session, seq, id, producer_id: producerId, producer_seq: producerSeq }): Stored => ({
      session,
      seq,
      id,
      producerId,
      producerSeq,
    }),
  )
  return groupBy(all, ({ session }) => session)
}

/**
 * Acknowledgements that the log contradicts: an acknowledged event that is not at its seq (I2), one that is
 * there twice or although it was refused (I4), a batch of which only a part is there.
 */
export function unaccounted(sent: readonly Sent[], stored: ReadonlyMap<string, readonly Stored[]>): string[] {
  const faults: string[] = []
  const seqOf = new Map<string, number>()
  for (const { session, seq, id } of [...stored.values()].flat()) {
    if (seqOf.has(id)) faults.push(`${id} is at ${seqOf.get(id)} and at ${seq} of ${session}`)
    seqOf.set(id, seq)
  }
  for (const { ids, seqs, fate } of sent) {
    const found = ids.map((id) => seqOf.get(id))
    if (fate === 'refused' && found.some((seq) => seq !== undefined))
      faults.push(`${ids} was refused, and is at ${found}`)
    if (fate === 'acknowledged' && String(found) !== String(seqs))
      faults.push(`${ids} was acknowledged at ${seqs}, and is at ${found}`)
    const [first] = found
    if (found.some((seq, i) => seq !== (first === undefined ? undefined : first + i)))
      faults.push(`of ${ids} a part is stored: ${found}`)
  }
  return faults
}

export function groupBy<K, T>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}
