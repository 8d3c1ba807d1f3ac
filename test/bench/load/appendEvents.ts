import type { ClientBase } from 'pg'
import type { AgentEvent } from '../payloads.ts'

const APPEND_EVENTS = {
  name: 'append_events',
  text: `select a.ordinal, a.outcome, a.seq, a.last_seq, a.inserted_at
           from starcite.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) a`,
}

/** One call of the procedure, event k going to session k. Anything but `appended` throws. */
export async function appendEvents(
  client: ClientBase,
  sessions: readonly string[],
  events: readonly AgentEvent[],
): Promise<void> {
  const nothing = Array(events.length).fill(null)
  const empty = Array(events.length).fill('{}')
  const { rows } = await client.query({
    ...APPEND_EVENTS,
    values: [
      Array(events.length).fill('default'),
      sessions,
      events.map((event) => event.type),
      events.map((event) => JSON.stringify(event.payload)),
      events.map((event) => event.actor),
      nothing, // sources
      nothing, // producer ids
      nothing, // producer seqs
      nothing, // idempotency keys
      empty, // metadata
      empty, // refs
      nothing, // expected seqs
      nothing, // batches
    ],
  })
  const appended = rows.filter((row) => row.outcome === 'appended')
  if (appended.length !== events.length)
    throw new Error(`of ${events.length} events only ${appended.length} were appended`)
}
