import { expect } from 'chai'
import { at, unique } from '../support/answers.ts'
import { type Answer, call, TailClient } from '../support/client.ts'
import { EVERY_CALL } from '../support/everyCall.ts'
import { Issuer } from '../support/issuer.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { use } from '../support/use.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

type Bearer = { authorization: string }

/** How an answer would look if ids were all alike: what two answers must share to be indistinguishable. */
function shapeOf(answer: Answer, id: string): unknown {
  const headers = [...answer.headers]
    .filter(([name]) => !['date', 'x-request-id'].includes(name))
    .map(([name, value]) => [name, name === 'content-length' ? '' : value])
  return { status: answer.status, headers, text: answer.text.replaceAll(id, 'ID') }
}

describe('tenants (I7)', () => {
  const database = useDatabase()
  const issuer = use(() => Issuer.start())
  const node = useNode(database, () => ({
    ...issuer.settings,
    STARCITE_SEGMENT_INTERVAL: '1s',
    STARCITE_HOT_RETENTION: '0s',
    STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '100',
  }))
  let acme: Bearer
  let zeta: Bearer

  before(async () => {
    acme = await issuer.bearer({ tenant_id: 'acme', sub: 'user:a' })
    zeta = await issuer.bearer({ tenant_id: 'zeta', sub: 'user:z' })
  })

  const create = (bearer: Bearer, body: object) => call('POST', `${node.url}/v1/sessions`, body, bearer)
  const get = (bearer: Bearer, id: string, rest = '') =>
    call('GET', at(node.url, id, rest), undefined, bearer)

  /** Resolves when all events of sessions of this id are in cold storage, of either tenant. */
  async function moved(id: string): Promise<void> {
    const db = await connect(database)
    try {
      await until('events are cold', async () => {
        const { rows } = await db.query(
          `select count(*)::int as behind from starcite.sessions s join starcite.session_heads h on h.sid = s.sid
            where s.id = $1 and h.last_seq > coalesce((select max(l.last_seq) from starcite.slices l
              join starcite.objects o on o.object_id = l.object_id
              join starcite.segments g on g.name = o.segment and g.state in ('moved', 'dropped')
             where l.sid = s.sid), 0)`,
          [id],
        )
        return rows[0]?.behind === 0
      })
    } finally {
      await db.end()
    }
  }

  it('have sessions of the same id that know nothing of one another, on every call, hot and cold', async () => {
    const id = unique()
    const sides = [
      { bearer: acme, name: 'acme', actor: 'user:a', events: 3 },
      { bearer: zeta, name: 'zeta', actor: 'user:z', events: 5 },
    ]
    for (const { bearer, name } of sides) {
      const created = await create(bearer, { id, title: name, metadata: { of: name } })
      expect(created.json).to.deep.include({ tenant_id: name, title: name, last_seq: 0 })
    }
    const tails = sides.map(({ bearer }) => new TailClient(node.url, id, '', bearer))
    await Promise.all(
      sides.flatMap(({ bearer, name, events }) => [
        call(
          'POST',
          at(node.url, id, '/append'),
          { type: name, payload: {}, producer_id: 'p', producer_seq: 1 },
          bearer,
        ),
        call(
          'POST',
          at(node.url, id, '/events'),
          { events: Array.from({ length: events - 1 }, () => ({ type: name, payload: { of: name } })) },
          bearer,
        ),
      ]),
    )
    await call('PATCH', at(node.url, id), { metadata: { more: 'acme' } }, acme)
    await call('POST', at(node.url, id, '/archive'), undefined, zeta)

    const check = async (when: string) => {
      for (const [i, { bearer, name, actor, events }] of sides.entries()) {
        const session = (await get(bearer, id)).json
        expect(session, when).to.deep.include({
          tenant_id: name,
          title: name,
          last_seq: events,
          version: 2,
          archived: name === 'zeta',
          metadata: name === 'acme' ? { of: name, more: 'acme' } : { of: name },
          creator_principal: { tenant_id: name, id: actor, type: 'user' },
        })
        for (const rest of ['/events', '/events?order=desc', `/events?type=${name}`]) {
          const page = (await get(bearer, id, rest)).json
          expect(
            page.events.map((event: { actor: string }) => event.actor),
            `${when} ${rest}`,
          ).to.deep.equal(Array(events).fill(actor))
          expect(page.last_seq).to.equal(events)
        }
        const other = sides[1 - i] as (typeof sides)[0]
        expect((await get(bearer, id, `/events?type=${other.name}`)).json.events, when).to.deep.equal([])
        const replay = new TailClient(node.url, id, 'follow=false', bearer)
        await replay.until((client) => client.closed !== undefined)
        expect(replay.events, when).to.have.length(events)
        expect(replay.events.every((event) => JSON.parse(event).actor === actor)).to.equal(true)
        const list = await call(
          'GET',
          `${node.url}/v1/sessions?archived=all&metadata.of=${name}`,
          undefined,
          bearer,
        )
        expect(
          list.json.sessions.map((session: { id: string }) => session.id),
          when,
        ).to.deep.equal([id])
        const none = await call(
          'GET',
          `${node.url}/v1/sessions?archived=all&metadata.of=${other.name}`,
          undefined,
          bearer,
        )
        expect(none.json.sessions, when).to.deep.equal([])
      }
    }
    await check('hot')
    for (const [i, { events, actor }] of sides.entries()) {
      await tails[i]?.until((client) => client.events.length >= events)
      expect(tails[i]?.events.map((event) => JSON.parse(event).actor)).to.deep.equal(
        Array(events).fill(actor),
      )
    }
    await moved(id)
    await check('cold')

    const retry = await call(
      'POST',
      at(node.url, id, '/append'),
      { type: 'acme', payload: {}, producer_id: 'p', producer_seq: 1 },
      acme,
    )
    expect(retry.json, 'its own producer').to.include({ deduped: true, last_seq: 3 })
    await call('POST', at(node.url, id, '/append'), { type: 'late', payload: {} }, acme)
    await tails[0]?.until((client) => client.events.length === 4)
    expect(tails[1]?.events, 'live, of the other').to.have.length(5)
    for (const tail of tails) tail.close()
  }).timeout(20_000)

  it('list their own alone, and a cursor that is the id of another’s tells nothing', async () => {
    const ids = Array.from({ length: 6 }, (_, i) => `list_${i}`)
    for (const [i, id] of ids.entries()) await create(i % 2 ? zeta : acme, { id })

    const seen: string[] = []
    for (let cursor: string | null = 'list_'; cursor !== null; ) {
      const url = `${node.url}/v1/sessions?limit=1&cursor=${cursor}`
      const { json } = await call('GET', url, undefined, acme)
      seen.push(...json.sessions.map((session: { id: string }) => session.id))
      cursor = json.next_cursor
    }
    const listAfter = async (cursor: string) =>
      (await call('GET', `${node.url}/v1/sessions?cursor=${cursor}`, undefined, acme)).text

    expect(seen.filter((name) => name.startsWith('list_'))).to.deep.equal(['list_0', 'list_2', 'list_4'])
    expect(await listAfter('list_3'), 'zeta’s').to.equal(await listAfter('list_3x'))
  })

  it('get the same answers for sessions of another tenant as for missing ones, on every route', async () => {
    const [foreign, absent] = [unique('foreign'), unique('missing')]
    await create(zeta, { id: foreign })
    await call('POST', at(node.url, foreign, '/append'), { type: 't', payload: {} }, zeta)

    for (const { name, send, isOfSession } of EVERY_CALL.filter((entry) => entry.isOfSession)) {
      const [there, nowhere] = [await send(node.url, foreign, acme), await send(node.url, absent, acme)]
      expect(isOfSession && there.json.error, name).to.equal('session_not_found')
      expect(shapeOf(there, foreign), name).to.deep.equal(shapeOf(nowhere, absent))
    }
    expect((await get(zeta, foreign)).json, 'zeta’s, as it was').to.include({
      last_seq: 1,
      version: 1,
      title: null,
    })
    const erased = await call('DELETE', at(node.url, foreign), {}, zeta)
    const receipts = [erased.json.id, unique('missing')]
    const [its, none] = await Promise.all(
      receipts.map((receipt) => call('GET', `${node.url}/v1/erasures/${receipt}`, undefined, acme)),
    )
    expect(its?.json.error).to.equal('erasure_not_found')
    expect(shapeOf(its as Answer, receipts[0] as string)).to.deep.equal(
      shapeOf(none as Answer, receipts[1] as string),
    )
    expect((await create(acme, { id: foreign })).status, 'its own of that id').to.equal(201)
  })
})
