import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { exportEvents } from '../../src/audit/export/exportEvents.ts'
import { NDJSON } from '../../src/audit/export/ndjson.ts'
import { loadEvents } from '../../src/audit/load/loadEvents.ts'
import { type Selection, UnreadableError } from '../../src/audit/read/selection.ts'
import { Starcite } from '../../src/client/starcite.ts'
import type { Service } from '../../src/service.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { call, TailClient } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { startNode } from '../support/node.ts'
import { SocketClient } from '../support/socketClient.ts'
import { type FollowingTail, TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

/** Two segments in objects, and one in Postgres. */
const EACH = 20
const COUNT = 3 * EACH

/** Events that the owner of the tables has removed: by hand, or by a partial restore. */
const DAMAGES: Readonly<Record<string, { missing: number; sql: string }>> = {
  'a hot event': { missing: 50, sql: 'delete from starcite.events e where e.sid = $1 and e.seq = 50' },
  'the first hot event': {
    missing: 41,
    sql: 'delete from starcite.events e where e.sid = $1 and e.seq = 41',
  },
  'the newest event': { missing: 60, sql: 'delete from starcite.events e where e.sid = $1 and e.seq = 60' },
  'the last cold events': {
    missing: 21,
    sql: 'delete from starcite.slices s where s.sid = $1 and s.first_seq = 21',
  },
  'the first cold events': {
    missing: 1,
    sql: 'delete from starcite.slices s where s.sid = $1 and s.first_seq = 1',
  },
}

describe('a session of which events are missing', function () {
  this.timeout(60_000)
  const lab = use(() => TieringLab.open())
  let node: Service
  const unused: { id: string; sid: string }[] = []
  let id: string
  let sid: string

  // All of them before the first is damaged: a damaged session does not move.
  before(async () => {
    for (let i = 0; i < 20; i += 1) {
      const name = unique()
      unused.push({ id: name, sid: await lab.session(name) })
    }
    for (const round of [1, 2, 3]) {
      for (const { id: session } of unused)
        await lab.append(
          Array.from({ length: EACH }, (_, n) => ({
            session,
            type: n % 4 === 0 ? 'rare' : 'content',
            payload: `{"n":${n}}`,
          })),
        )
      if (round < 3) await lab.move()
    }
    node = await startNode(lab.database, { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' })
    await lab.makeAllDue()
  })
  after(async () => {
    await node?.stop()
  })

  beforeEach(() => {
    const next = unused.pop()
    if (next === undefined) throw new Error('there are too few sessions for these tests')
    ;({ id, sid } = next)
  })

  const page = (query: string) => call('GET', at(node.url, id, `/events?${query}`))
  const metric = async () =>
    Number(
      /^starcite_history_damaged_total (\d+)/m.exec((await call('GET', `${node.url}/metrics`)).text)?.[1],
    )
  const everything = (): Selection => ({
    tenant: 'default',
    session: id,
    types: new Set(),
    actors: new Set(),
  })
  async function outcomeOf(tail: FollowingTail): Promise<{ frames: number; code: unknown }> {
    const code = await tail.ended.then(
      () => 'finished',
      (error) => error.code,
    )
    return { frames: tail.frames.length, code }
  }

  it('is read without a fault as long as none is', async () => {
    for (const query of ['limit=1000', 'order=desc&limit=1000', 'type=rare', 'order=desc&type=rare&limit=7'])
      expect((await page(query)).status, query).to.equal(200)
  })

  for (const [what, { missing, sql }] of Object.entries(DAMAGES)) {
    const isHot = missing > 2 * EACH
    it(`${what}: is refused by every page that reaches there, and by no other`, async () => {
      await lab.db.query(sql, [sid])
      const before = await metric()
      const reaching = [
        'limit=1000',
        `cursor=${missing - 1}`,
        'order=desc&limit=1000',
        `order=desc&cursor=${missing + 1}`,
        'type=rare&limit=1000',
        'actor=nobody',
        'order=desc&type=rare&limit=1000',
        `type=nope&wait=1&cursor=${missing - 1}`,
      ]
      const answers = await Promise.all(reaching.map(page))
      for (const [i, answer] of answers.entries()) {
        expectError(answer, 500, 'history_damaged')
        if (isHot) expect(answer.json.seq, reaching[i]).to.equal(missing)
      }
      expect(await metric()).to.equal(before + reaching.length)
      if (missing > 1) expect((await page(`limit=${missing - 1}`)).json.events).to.have.length(missing - 1)
      if (missing < COUNT)
        expect((await page(`order=desc&limit=${EACH - (isHot ? missing - 2 * EACH : 0)}`)).status).to.equal(
          200,
        )
    })

    it(`${what}: ends every tail there, and no reader takes that for its end`, async () => {
      await lab.db.query(sql, [sid])
      const socket = new TailClient(node.url, id, 'follow=false')
      const stream = new EventStreamClient(at(node.url, id, '/tail?follow=false'))
      const curl = promisify(execFile)('curl', [
        ...['-sN', '-H', 'Accept: text/event-stream'],
        at(node.url, id, '/tail?follow=false'),
      ]).catch((error) => error)
      await socket.until(({ closed }) => closed !== undefined)
      await stream.until('the stream ends', ({ ended }) => ended)

      expect(socket.closed).to.deep.equal({ code: 1011, reason: 'history_damaged' })
      expect(socket.events).to.have.length(missing - 1)
      expect(stream.response?.complete).to.equal(false)
      expect(stream.text).to.include('event: history_damaged\ndata: {"error":"history_damaged"')
      expect((await curl).code, 'exit code of curl').to.equal(18)
      expect(await outcomeOf(lab.follow(sid, { until: COUNT }))).to.deep.equal({
        frames: missing - 1,
        code: 'history_damaged',
      })
    })

    it(`${what}: fails exports${isHot ? '' : ' and loads'}`, async () => {
      await lab.db.query(sql, [sid])
      const { pool: db, store } = lab
      const { signal } = new AbortController()
      const common = { db, store, signal, selection: everything() }
      const exported = await exportEvents({ ...common, format: NDJSON, write: async () => {} }).catch(
        (error) => error,
      )
      expect(exported).to.be.instanceOf(UnreadableError)
      if (isHot) return
      const loaded = await loadEvents({ ...common, ownerDb: db, keepMs: 60_000 }).catch((error) => error)
      expect(loaded).to.be.instanceOf(UnreadableError)
    })
  }

  it('ends a topic of the socket with the reason, which may be joined again', async () => {
    await lab.db.query(DAMAGES['a hot event']?.sql ?? '', [sid])
    const socket = await SocketClient.open(node.url)
    await socket.join(`tail:${id}`, { batch_size: 100 })

    const reason = await socket.event('history_damaged')
    await socket.event('phx_error')

    expect(reason[4]).to.deep.equal({ reason: 'history_damaged' })
    expect(socket.events(`tail:${id}`)).to.have.length(49)
    socket.ws.terminate()
  })

  it('cuts a stream of many tails once they have ended, which names the reason', async () => {
    await lab.db.query(DAMAGES['a hot event']?.sql ?? '', [sid])
    const response = await fetch(`${node.url}/v1/tails`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ tails: [{ session_id: id }] }),
    })
    let text = ''
    const ended = await (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
    })().catch(() => 'cut')

    expect(text).to.include('"error":"history_damaged"')
    expect(ended).to.equal('cut')
  })

  for (const transport of ['websocket', 'sse'] as const)
    it(`fails the client's history and its tail over ${transport} with history_damaged, once and for all`, async () => {
      await lab.db.query(DAMAGES['a hot event']?.sql ?? '', [sid])
      const session = new Starcite({ url: node.url, WebSocket }).session(id)
      const seqs: number[] = []
      const error = await (async () => {
        for await (const { seq } of session.tail({ transport })) seqs.push(seq)
      })().catch((error) => error)

      expect(error).to.include({ code: 'history_damaged', retryable: false })
      expect(seqs).to.have.length(49)
      const history = session.history({ pageSize: 10, cursor: 45 })
      expect(await history.next().catch((error) => error)).to.include({ code: 'history_damaged' })
    })
})
