import type pg from 'pg'

/** One event of a call of starcite.append_events; what a test does not name is not given. */
export interface EventItem {
  readonly session: string
  readonly tenant?: string
  readonly type?: string
  /** JSON text. */
  readonly payload?: string
  readonly actor?: string
  readonly source?: string
  readonly subject?: string
  readonly producer?: readonly [id: string, seq: number]
  readonly key?: string
  readonly metadata?: string
  readonly refs?: string
  readonly expectedSeq?: number
  readonly batch?: number
}

export interface Outcome {
  readonly outcome: string
  readonly seq: number | null
  readonly lastSeq: number | null
  readonly expected: number | null
}

const CALL = `select a.outcome, a.seq, a.last_seq, a.expected, a.ordinal
                from starcite.append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) a`

const number = (value: string | null) => (value === null ? null : Number(value))

/** Calls starcite.append_events; the outcomes are in the order of the items. */
export async function appendEvents(db: pg.ClientBase, items: readonly EventItem[]): Promise<Outcome[]> {
  const column = (of: (item: EventItem) => string | number | undefined) =>
    items.map((item) => of(item) ?? null)
  const { rows } = await db.query<Record<'outcome' | 'seq' | 'last_seq' | 'expected', string | null>>({
    name: 'append_events',
    text: CALL,
    values: [
      column((item) => item.tenant ?? 'default'),
      column((item) => item.session),
      column((item) => item.type ?? 'content'),
      column((item) => item.payload ?? '{}'),
      column((item) => item.actor ?? 'agent:a'),
      column((item) => item.source),
      column((item) => item.producer?.[0]),
      column((item) => item.producer?.[1]),
      column((item) => item.key),
      column((item) => item.metadata),
      column((item) => item.refs),
      column((item) => item.expectedSeq),
      column((item) => item.batch),
      column((item) => item.subject),
    ],
  })
  return rows.map((row) => ({
    outcome: row.outcome as string,
    seq: number(row.seq),
    lastSeq: number(row.last_seq),
    expected: number(row.expected),
  }))
}

/** Outcomes in one line each, for tests that look at nothing else: 'appended 3', 'expected_seq_conflict'. */
export const briefly = (outcomes: readonly Outcome[]) =>
  outcomes.map((outcome) => (outcome.seq === null ? outcome.outcome : `${outcome.outcome} ${outcome.seq}`))

export async function createSessions(db: pg.ClientBase, ...ids: readonly string[]): Promise<void> {
  await db.query(`select starcite.create_session('default', u.id) from unnest($1::text[]) u (id)`, [ids])
}
