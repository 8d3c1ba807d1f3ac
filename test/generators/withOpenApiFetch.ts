/**
 * Compiled beside `schema.ts`, which openapi-typescript makes of the document that a node serves, and run against that
 * node. Each `@ts-expect-error` is a mistake that the generated types have to find.
 */
import createClient from 'openapi-fetch'
import type { components, paths } from './schema.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const holds = <_ extends true>() => {}

type Schemas = components['schemas']
holds<Same<Schemas['Event']['payload'], { [key: string]: unknown }>>()
holds<Same<Schemas['NewEvent']['payload'], { [key: string]: unknown }>>()
holds<Same<Schemas['Event']['redacted'], true | undefined>>()
holds<Same<Schemas['Event']['producer_seq'], number | undefined>>()
holds<Same<Schemas['Session']['title'], string | null>>()
holds<Same<Schemas['SessionPage']['next_cursor'], string | null>>()
holds<Same<Schemas['ErasedSession']['status'], 'pending' | 'done'>>()
// A handshake is none of the calls of an HTTP client.
holds<Same<Extract<keyof paths, '/v1/socket/websocket'>, never>>()

export async function run(baseUrl: string, id: string) {
  const api = createClient<paths>({ baseUrl })
  const path = { id }
  const ofSession = { params: { path } }

  const created = await api.POST('/v1/sessions', { body: { id, metadata: { plan: id } } })
  if (created.error) throw new Error(created.error.error)
  const session: string = created.data.id

  const appended = await api.POST('/v1/sessions/{id}/append', {
    ...ofSession,
    body: { type: 'note', payload: { text: 'one', deep: [1] }, refs: { to_seq: 1, tool: 'search' } },
  })
  const many = await api.POST('/v1/sessions/{id}/events', {
    ...ofSession,
    body: { events: ['two', 'three'].map((text) => ({ type: 'note', payload: { text } })) },
  })
  const numbers: number[] = many.data?.results.map(({ seq }) => seq) ?? []

  const refused = await api.POST('/v1/sessions/{id}/append', {
    ...ofSession,
    body: { type: 'note', payload: {}, expected_seq: 1 },
  })
  // @ts-expect-error Only one of the codes has this detail.
  void refused.error?.current_seq
  // @ts-expect-error It is no code of this call.
  void (refused.error?.error === 'session_exists')
  const head: number | undefined =
    refused.error?.error === 'expected_seq_conflict' ? refused.error.current_seq : undefined

  const redacted = await api.POST('/v1/sessions/{id}/events/{seq}/redact', {
    params: { path: { id, seq: 2 } },
    body: { reason: 'case 7' },
  })
  const kind: 'event' | undefined = redacted.data?.kind

  const texts: unknown[] = []
  for (let cursor = 0; ; ) {
    const page = await api.GET('/v1/sessions/{id}/events', {
      params: { path, query: { cursor, limit: 2, order: 'asc' } },
    })
    if (page.error) throw new Error(page.error.error)
    for (const { payload, redacted } of page.data.events) texts.push(redacted ? 'redacted' : payload.text)
    cursor = page.data.next_cursor ?? cursor
    if (cursor === page.data.last_seq) break
  }

  const listed = await api.GET('/v1/sessions', { params: { query: { limit: 1, metadata: { plan: id } } } })
  const streamed = await api.GET('/v1/sessions/{id}/tail', {
    params: { path, query: { follow: 'false', cursor: 2 } },
    headers: { Accept: 'text/event-stream' },
    parseAs: 'text',
  })
  const ready = await api.GET('/health/ready')
  const wellbeing: 'ok' | 'unavailable' | undefined = ready.data?.status

  // @ts-expect-error A payload is an object.
  void (() => api.POST('/v1/sessions/{id}/append', { ...ofSession, body: { type: 'note', payload: 'one' } }))
  // @ts-expect-error `type` is missing.
  void (() => api.POST('/v1/sessions/{id}/append', { ...ofSession, body: { payload: {} } }))
  // @ts-expect-error There is no such order.
  void (() => api.GET('/v1/sessions/{id}/events', { params: { path, query: { order: 'up' } } }))

  return {
    session,
    seqs: [appended.data?.seq, ...numbers],
    head,
    kind,
    texts,
    listed: listed.data?.sessions.map((session) => session.id),
    frames: streamed.data?.match(/^id: ?\d+/gm),
    wellbeing,
  }
}
