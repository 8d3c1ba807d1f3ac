import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { bound } from '../support/slack.ts'
import { timed, until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('several nodes on one Postgres', () => {
  const database = useDatabase()
  const db = useConnection(database)
  let a: Service
  let b: Service
  let id: string

  before(async () => {
    // Longer than any test: what is seen in time was notified, not polled.
    const settings = { STARCITE_POLL_INTERVAL: '5m' }
    ;[a, b] = await Promise.all([startNode(database, settings), startNode(database, settings)])
    for (const { url } of [a, b])
      await until('it listens', async () =>
        (await call('GET', `${url}/metrics`)).text.includes('starcite_listener_up 1'),
      )
  })
  after(async () => {
    await Promise.all([a.stop(), b.stop()])
  })
  beforeEach(async () => {
    id = (await call('POST', `${a.url}/v1/sessions`, {})).json.id
  })

  const append = (node: Service, event: object) =>
    call('POST', `${node.url}/v1/sessions/${id}/append`, { type: 't', payload: {}, ...event })

  async function tailsOnBoth(): Promise<[ResumingTail, ResumingTail]> {
    const tails: [ResumingTail, ResumingTail] = [
      new ResumingTail(() => a.url, id),
      new ResumingTail(() => b.url, id),
    ]
    await until('both are open', () => tails.every((tail) => tail.connections === 1))
    return tails
  }

  it('show what one appends to a tail on the other, at once', async () => {
    const [onA, onB] = await tailsOnBoth()

    await append(a, { payload: { by: 'a' } })
    const { ms } = await timed(until('both have it', () => onA.cursor === 1 && onB.cursor === 1))
    await append(b, { payload: { by: 'b' } })
    await until('both have it', () => onA.cursor === 2 && onB.cursor === 2)

    expect(ms).to.be.below(bound(3000))
    expect(onA.events).to.deep.equal(onB.events)
    for (const tail of [onA, onB]) tail.stop()
  })

  it('show what was appended by SQL to tails on both, at its commit and not before', async () => {
    const [onA, onB] = await tailsOnBoth()
    await db.query('begin')
    await db.query('select starcite.append($1, $2, $3)', [id, 'sql', '{"n": 1}'])
    const { json } = await call('GET', `${b.url}/v1/sessions/${id}`)
    await db.query('commit')
    await until('both have it', () => onA.cursor === 1 && onB.cursor === 1)

    expect(json.last_seq).to.equal(0)
    expect(onA.events[0]).to.include('"payload":{"n": 1}')
    expect(onA.events).to.deep.equal(onB.events)
    for (const tail of [onA, onB]) tail.stop()
  })

  it('show nothing of a transaction that was rolled back, and give its seq to the next (I1)', async () => {
    const [onA, onB] = await tailsOnBoth()
    await db.query('begin')
    await db.query('select starcite.append($1, $2, $3)', [id, 'undone', '{}'])
    await db.query('rollback')

    const answer = await append(a, {})
    await until('both have it', () => onA.cursor === 1 && onB.cursor === 1)

    expect(answer.json.seq).to.equal(1)
    expect(onB.events[0]).not.to.include('undone')
    for (const tail of [onA, onB]) tail.stop()
  })

  it('serve as history what the other took as a batch', async () => {
    const events = Array.from({ length: 50 }, (_, n) => ({ type: 't', payload: { n } }))
    await call('POST', `${b.url}/v1/sessions/${id}/events`, { events })

    const { json } = await call('GET', `${a.url}/v1/sessions/${id}/events`)

    expect(json.events.map((event: { payload: { n: number } }) => event.payload.n)).to.deep.equal(
      events.map((_, n) => n),
    )
  })

  it('wake a long-poll on one by an append through the other', async () => {
    const waiting = timed(call('GET', `${a.url}/v1/sessions/${id}/events?wait=10`))
    await until('it waits', async () =>
      (await call('GET', `${a.url}/metrics`)).text.includes('starcite_tails 1'),
    )
    await append(b, {})

    const { value, ms } = await waiting

    expect(value.json.events).to.have.lengthOf(1)
    expect(ms).to.be.below(bound(2000))
  })

  it('recognise a retry that comes to the other, even both at once (I4)', async () => {
    for (let producer_seq = 1; producer_seq <= 20; producer_seq += 1) {
      const event = { producer_id: 'p', producer_seq, payload: { producer_seq } }
      const answers = await Promise.all([
        append(a, event),
        append(b, event),
        append(a, event),
        append(b, event),
      ])

      expect(answers.map(({ json }) => json.seq)).to.deep.equal(Array(4).fill(producer_seq))
      expect(answers.filter(({ json }) => !json.deduped)).to.have.lengthOf(1)
    }
  })

  it('let exactly one win when both expect the same seq', async () => {
    for (let expected_seq = 0; expected_seq < 20; expected_seq += 1) {
      const answers = await Promise.all([append(a, { expected_seq }), append(b, { expected_seq })])

      expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, 409])
      const refused = answers.find(({ status }) => status === 409)
      expect(refused?.json).to.include({ error: 'expected_seq_conflict', current_seq: expected_seq + 1 })
    }
  })

  it('number what both append to one session without hole or repeat, and answer as much', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => append(n % 2 ? a : b, { payload: { n } })),
    )

    const seqs = answers.map(({ json }) => json.seq as number).sort((x, y) => x - y)
    expect(seqs).to.deep.equal(Array.from({ length: 200 }, (_, i) => i + 1))
  })

  it('remember producers and events when all of them are replaced (I2, I4)', async () => {
    const event = { producer_id: 'p', producer_seq: 7, payload: { n: 1 } }
    const before = await startNode(database)
    await append(before, event)
    await before.stop()
    const after = await startNode(database)

    const retry = await append(after, { ...event, expected_seq: 0 })
    const other = await append(after, { ...event, payload: { n: 2 } })
    const next = await append(after, { ...event, producer_seq: 8 })

    expect(retry.json).to.include({ seq: 1, deduped: true })
    expect(other.json.error).to.equal('producer_replay_conflict')
    expect(next.json).to.include({ seq: 2, deduped: false })
    await after.stop()
  })
})
