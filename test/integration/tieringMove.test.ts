import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { expect } from 'chai'
import { renderedEventOfLine } from '../../src/archive/line.ts'
import type { ObjectStore } from '../../src/objects/objectStore.ts'
import { S3Store } from '../../src/objects/s3Store.ts'
import { createLog } from '../../src/ops/log.ts'
import { ColdReader } from '../../src/tiering/cold/coldReader.ts'
import { memberTexts } from '../support/jsonText.ts'
import { TEST_S3, TEST_S3_START_MS, testS3 } from '../support/s3.ts'
import { S3Server } from '../support/s3Server.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'

const SESSIONS = [
  { tenant: 'default', session: 'one' },
  { tenant: 'default', session: 'back\\slash "quoted" 💾' },
  { tenant: 'acme corp/ü', session: 'one' },
  { tenant: 'acme corp/ü', session: ',"session_id":' },
  { tenant: '..', session: 'dots' },
]
const HUGE = { tenant: 'default', session: 'huge' }
const HUGE_EVENTS = 6000

/** What the whole of cold storage holds, by standard tools. */
interface Line {
  readonly line: string
  readonly event: {
    readonly seq: number
    readonly session_id: string
    readonly salt: string
    readonly hash: string
  }
}

function suite(name: string, openStore: () => Promise<ObjectStore | undefined>): void {
  describe(`a move to ${name}`, () => {
    let lab: TieringLab
    const sids = new Map<string, string>()
    const hot = new Map<string, Record<string, string[]>>()

    before(async function () {
      this.timeout(TEST_S3_START_MS)
      lab = await TieringLab.open(await openStore())
      for (const { tenant, session } of [...SESSIONS, HUGE, { tenant: 'default', session: 'empty' }])
        sids.set(`${tenant}/${session}`, await lab.session(session, tenant))
      await lab.append(someEvents(SESSIONS, 120))
      await lab.append(someEvents([HUGE], HUGE_EVENTS))
      // An empty segment between two that have events.
      await lab.db.query(
        `select starcite.ensure_segment(g.to_at) from (select max(to_at) as to_at from starcite.segments) g`,
      )
      await lab.db.query(
        `update starcite.settings s set value = (select max(to_at)::text from starcite.segments) where s.name = 'closed_before'`,
      )
      await lab.append(someEvents(SESSIONS.slice(1, 3), 20).map(({ producer, ...event }) => event))
      for (const [id, sid] of sids) hot.set(id, await lab.shown(sid))
      await lab.move()
    })

    after(() => lab?.close())

    async function objects(): Promise<{ key: string; tenant: string; body: Buffer }[]> {
      const { rows } = await lab.db.query(
        `select o.key, o.tenant_id, o.bytes::int, encode(o.sha256, 'hex') as sha256 from starcite.objects o order by o.object_id`,
      )
      return Promise.all(
        rows.map(async ({ key, tenant_id, bytes, sha256 }) => {
          const body = await lab.store.get(key)
          expect(body.length).to.equal(bytes)
          expect(createHash('sha256').update(body).digest('hex')).to.equal(sha256)
          return { key, tenant: tenant_id, body }
        }),
      )
    }

    it('leaves nothing in the hot tables, and no partition', async () => {
      expect(await lab.count('events')).to.equal(0)
      const segments = await lab.segments()
      expect(segments.map(({ state, attached }) => [state, attached])).to.deep.equal(
        segments.map(() => ['dropped', false]),
      )
      expect(segments.map(({ events }) => events)).to.include(0)
      const { rows } = await lab.db.query(
        `select to_regclass('starcite.' || g.name) as partition from starcite.segments g`,
      )
      expect(rows.every(({ partition }) => partition === null)).to.equal(true)
    })

    it('shows in no reading: every frame is byte for byte what it was, in either order, filtered or not (I5, I6)', async () => {
      for (const [id, sid] of sids) expect(await lab.shown(sid), id).to.deep.equal(hot.get(id))
      expect(hot.get('default/huge')?.['by a tail']).to.have.lengthOf(HUGE_EVENTS)
    })

    it('puts each tenant into objects of its own, named by their content', async () => {
      const found = await objects()

      for (const { key, tenant, body } of found) {
        const [version, encoded, segment, file] = key.split('/')
        expect(version).to.equal('v1')
        expect(decodeURIComponent(encoded ?? '')).to.equal(tenant)
        expect(segment).to.match(/^events_\d{8}t\d{6}/)
        expect(file).to.equal(`${createHash('sha256').update(body).digest('hex')}.ndjson.gz`)
      }
      expect(found.map(({ key }) => key.split('/')[1])).to.include.members(['%2E%2E', 'acme%20corp%2F%C3%BC'])
      const { rows } = await lab.db.query(
        `select count(*)::int as n from starcite.slices s join starcite.objects o using (object_id)
           join starcite.sessions n using (sid) where n.tenant_id <> o.tenant_id`,
      )
      expect(rows[0].n).to.equal(0)
      const stored = []
      for await (const { key } of lab.store.list('v1/')) stored.push(key)
      expect(stored.sort()).to.deep.equal(found.map(({ key }) => key).sort())
    })

    it('is noted without a gap: slices follow one another from 1 to the end of each session', async () => {
      const { rows } = await lab.db.query(
        `select h.last_seq::int, coalesce(array_agg(array[s.first_seq, s.last_seq]::int[] order by s.first_seq)
                                          filter (where s.sid is not null), '{}') as slices
           from starcite.session_heads h left join starcite.slices s using (sid) group by h.sid, h.last_seq`,
      )
      for (const { last_seq, slices } of rows) {
        let next = 1
        for (const [first, last] of slices) {
          expect(first).to.equal(next)
          next = last + 1
        }
        expect(next).to.equal(last_seq + 1)
      }
    })

    it('can be read with the documentation only: objects, lines, frames, and hashes that verify', async () => {
      const lines = (await objects()).flatMap(({ tenant, body }) =>
        gunzipSync(body)
          .toString()
          .trimEnd()
          .split('\n')
          .map((line) => ({ tenant, line, event: JSON.parse(line) as Line['event'] })),
      )

      for (const { tenant, session } of [...SESSIONS, HUGE]) {
        const own = lines.filter((line) => line.tenant === tenant && line.event.session_id === session)
        own.sort((a, b) => a.event.seq - b.event.seq)
        const frames = own.map(({ line, event }) => renderedEventOfLine(line, event.seq).text)
        expect(frames).to.deep.equal(hot.get(`${tenant}/${session}`)?.['by a tail'])
        const texts = frames.map((frame) => memberTexts(frame))
        const { rows } = await lab.db.query(VERIFY, [
          tenant,
          session,
          own.map(({ event }) => JSON.stringify({ ...event, payload: {} })),
          ...['payload', 'metadata', 'refs'].map((name) => texts.map((text) => text.get(name))),
          own.map(({ event }) => event.salt),
          own.map(({ event }) => event.hash),
        ])
        expect(rows[0]).to.deep.equal({ wrong: 0, verified: own.length, is_head: true })
      }
    })

    it('opens with zcat and jq', async function () {
      if (!(hasTool('zcat') && hasTool('jq'))) {
        console.log('      (zcat or jq is not installed here: read by the test itself, above)')
        return this.skip()
      }
      const seqs = (await objects()).map(({ body }) =>
        execFileSync(
          'sh',
          ['-c', String.raw`zcat | grep -v '\\ud83d"' | jq -r 'select(.session_id == "huge") | .seq'`],
          {
            input: body,
            maxBuffer: 2 ** 26,
          },
        ).toString(),
      )

      // Half a surrogate pair is JSON to Postgres and to Node, but not to jq.
      const frames = hot.get('default/huge')?.['by a tail'] ?? []
      const whole = frames.filter((frame) => !frame.includes('\\ud83d"'))
      expect(seqs.join('').trim().split('\n').map(Number)).to.deep.equal(
        whole.map((frame) => JSON.parse(frame).seq),
      )
      expect(whole).to.have.lengthOf.above(HUGE_EVENTS / 2)
    })
  })
}

const hasTool = (name: string) => {
  try {
    return execFileSync('sh', ['-c', `command -v ${name}`]).length > 0
  } catch {
    return false
  }
}

/** The chain by Postgres's own reckoning, over lines that came out of objects. */
const VERIFY = `
  with line as (
    select u.e::json as e, u.payload, u.metadata, u.refs, decode(u.salt, 'hex') as salt, decode(u.hash, 'hex') as hash
      from unnest($3::text[], $4::json[], $5::json[], $6::json[], $7::text[], $8::text[])
             as u (e, payload, metadata, refs, salt, hash)
  ), event as (
    select l.*, starcite.chain(starcite.genesis_hash($1, $2), (l.e ->> 'chain_version')::int,
             starcite.chain_link((l.e ->> 'chain_version')::int, (l.e ->> 'seq')::bigint, (l.e ->> 'inserted_at')::timestamptz, l.e ->> 'type', l.e ->> 'actor',
               l.e ->> 'source', l.e ->> 'producer_id', (l.e ->> 'producer_seq')::bigint, l.e ->> 'idempotency_key', l.e ->> 'subject',
               starcite.content_digest(l.salt, l.payload, l.metadata, l.refs)))
             over (order by (l.e ->> 'seq')::bigint) as again
      from line l
  )
  select count(*) filter (where e.again <> e.hash)::int as wrong,
         count(*) filter (where e.again = e.hash)::int as verified,
         (array_agg(e.hash order by (e.e ->> 'seq')::bigint desc))[1]
           = (select h.chain_hash from starcite.session_heads h join starcite.sessions s using (sid)
               where s.tenant_id = $1 and s.id = $2) as is_head
    from event e`

describe('moving segments', () => {
  suite('a table in Postgres', async () => undefined)

  suite(`S3, ${TEST_S3}`, async () => {
    const settings = await testS3()
    return new S3Store({ ...settings, prefix: `${settings.prefix}/move` })
  })

  it('costs one HEAD, PUT and GET an object; a slice costs one Range GET, once for all readers', async () => {
    const server = await S3Server.start()
    const lab = await TieringLab.open(new S3Store(server.settings))
    const sid = await lab.session('one')
    await lab.append(someEvents([{ session: 'one' }], 5000))
    const hot = await lab.read(sid)

    await lab.move()

    expect(server.requests.map(({ method }) => method)).to.deep.equal(['HEAD', 'PUT', 'GET'])
    server.requests.length = 0
    const cold = new ColdReader({
      db: lab.pool,
      store: lab.store,
      cacheBytes: 2 ** 20 * 16,
      log: createLog('silent'),
      metrics: lab.metrics,
    })
    const [slice, same] = await Promise.all([cold.sliceAt(sid, 2501), cold.sliceAt(sid, 2502)])
    await cold.sliceAt(sid, 2501)
    expect(
      server.requests.map(({ method, headers }) => [method, /^bytes=\d+-\d+$/.test(String(headers.range))]),
    ).to.deep.equal([['GET', true]])
    expect(same).to.equal(slice)
    const first = slice?.[0]?.seq as number
    expect(slice?.map(({ text }) => text)).to.deep.equal(
      hot.slice(first - 1, first - 1 + (slice?.length ?? 0)),
    )
    expect(cold.cachedBytes).to.be.within(1, 2 ** 20 * 16)
    await lab.close()
    await server.stop()
  })
})
