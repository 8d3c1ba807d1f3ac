import { type Lab, query } from './lab.ts'
import type { SessionLedger } from './load/ledger.ts'

const STORED = {
  starcite: `select s.id, h.last_seq, (select count(*) from starcite.events e where e.sid = s.sid) as events
               from starcite.sessions s
               join starcite.session_heads h on h.sid = s.sid
              where s.id = any ($1)`,
  baseline: `select s.id, s.last_seq, (select count(*) from events e where e.session_id = s.id) as events
               from sessions s
              where s.id = any ($1)`,
}

/** Holds every acknowledged append against the database: each got a seq of its own, and these are 1..n. */
export async function verify(lab: Lab): Promise<number> {
  const load = await lab.load()
  let acknowledged = 0
  for (const name of ['starcite', 'baseline'] as const) {
    const ledger = await load.call('ledger', name)
    if (ledger.length === 0) continue
    const rows = await query(await lab.database(name), STORED[name], [ledger.map((entry) => entry.session)])
    const stored = new Map(rows.map((row) => [row.id, row]))
    for (const entry of ledger) {
      const row = stored.get(entry.session)
      compare(name, entry, Number(row?.last_seq), Number(row?.events))
      acknowledged += entry.acknowledged
    }
  }
  return acknowledged
}

function compare(database: string, ledger: SessionLedger, lastSeq: number, events: number): void {
  const counts = [ledger.acknowledged, ledger.distinct, ledger.highest, lastSeq, events]
  if (new Set(counts).size > 1)
    throw new Error(
      `${database}, ${ledger.session}: ${ledger.acknowledged} appends were acknowledged with ${ledger.distinct} different seqs ` +
        `up to ${ledger.highest}; its last_seq is ${lastSeq}, and it has ${events} events`,
    )
}
