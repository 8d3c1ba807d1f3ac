/**
 * Compiled beside `client.ts`, which orval makes of the document that a node serves, and run against that node. Each
 * `@ts-expect-error` is a mistake that the generated types have to find.
 */
import type { ErasedSession, Event, NewEvent, Session, SessionPage } from './client.ts'
import * as client from './client.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_ extends true>() => {}

holds<Same<Event['payload'], { [key: string]: unknown }>>()
holds<Same<NewEvent['payload'], { [key: string]: unknown }>>()
holds<Same<Event['redacted'], true | undefined>>()
holds<Same<Event['producer_seq'], number | undefined>>()
holds<Same<Session['title'], string | null>>()
holds<Same<SessionPage['next_cursor'], string | null>>()
holds<Same<ErasedSession['status'], 'pending' | 'done'>>()
// A handshake is none of the calls of an HTTP client.
holds<Same<Extract<keyof typeof client, 'openSocket'>, never>>()

/** `baseUrl` is in what was generated. */
export async function run(_baseUrl: string, id: string) {
  const created = await client.createSession({ id, metadata: { plan: id } })
  if (created.status !== 201) throw new Error(created.data.error)
  const session: string = created.data.id

  const appended = await client.appendEvent(id, {
    type: 'note',
    payload: { text: 'one', deep: [1] },
    refs: { to_seq: 1, tool: 'search' },
  })
  const many = await client.appendEvents(id, {
    events: ['two', 'three'].map((text) => ({ type: 'note', payload: { text } })),
  })
  if (appended.status !== 201 || many.status !== 201) throw new Error('it was not appended')
  const numbers: number[] = many.data.results.map(({ seq }) => seq)

  const refused = await client.appendEvent(id, { type: 'note', payload: {}, expected_seq: 1 })
  let head: number | undefined
  if (refused.status === 409) {
    // @ts-expect-error Only one of the codes has this detail.
    void refused.data.current_seq
    // @ts-expect-error It is no code of this call.
    void (refused.data.error === 'session_exists')
    if (refused.data.error === 'expected_seq_conflict') head = refused.data.current_seq
  }

  const redacted = await client.redactEvent(id, 2, { reason: 'case 7' })
  if (redacted.status !== 200 && redacted.status !== 202) throw new Error(redacted.data.error)
  const kind: 'event' = redacted.data.kind

  const texts: unknown[] = []
  for (let cursor = 0; ; ) {
    const page = await client.listEvents(id, { cursor, limit: 2, order: 'asc' })
    if (page.status !== 200) throw new Error(page.data.error)
    for (const { payload, redacted } of page.data.events) texts.push(redacted ? 'redacted' : payload.text)
    cursor = page.data.next_cursor ?? cursor
    if (cursor === page.data.last_seq) break
  }

  const listed = await client.listSessions({ limit: 1, metadata: { plan: id } })
  if (listed.status !== 200) throw new Error(listed.data.error)
  const asStream = { headers: { Accept: 'text/event-stream' } }
  const streamed = await client.tailSession(id, { follow: 'false', cursor: 2 }, asStream)
  if (streamed.status !== 200) throw new Error('there is no stream')
  const ready = await client.isReady()
  const wellbeing: 'ok' | undefined = ready.status === 200 ? ready.data.status : undefined

  // @ts-expect-error A payload is an object.
  void (() => client.appendEvent(id, { type: 'note', payload: 'one' }))
  // @ts-expect-error `type` is missing.
  void (() => client.appendEvent(id, { payload: {} }))
  // @ts-expect-error There is no such order.
  void (() => client.listEvents(id, { order: 'up' }))

  return {
    session,
    seqs: [appended.data.seq, ...numbers],
    head,
    kind,
    texts,
    listed: listed.data.sessions.map((session) => session.id),
    frames: streamed.data.match(/^id: ?\d+/gm),
    wellbeing,
  }
}
