import { expect } from 'chai'
import { at, expectError } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import { someEvents, TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'

describe('a cursor that says which event it stands at', () => {
  const lab = use(() => TieringLab.open())
  const node = use(() => startNode(lab.database, { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' }))
  let times: string[]

  before(async () => {
    await lab.makeAllDue()
    const sid = await lab.session('s')
    for (let i = 0; i < 4; i += 1) {
      if (i === 2) await lab.move()
      // In two calls, for events of one have the same time.
      await lab.append(someEvents([{ session: 's' }], 3).map(({ producer: _, ...event }) => event))
    }
    times = (await lab.read(sid)).map((text) => JSON.parse(text).inserted_at)
  })

  const page = (cursor: number, insertedAt: string) =>
    call('GET', at(node.url, 's', `/events?cursor=${cursor}&cursor_inserted_at=${insertedAt}`))

  for (const [tier, cursor] of [
    ['cold', 2],
    ['cold', 6],
    ['hot', 7],
    ['hot', 12],
  ] as const)
    it(`at event ${cursor}, which is ${tier}: goes on where the time is the event's, and is refused where not`, async () => {
      const right = await page(cursor, times[cursor - 1] ?? '')
      expect([right.status, right.json.events?.length]).to.deep.equal([200, 12 - cursor])

      const other = await page(cursor, times[cursor > 6 ? 0 : 11] ?? '')
      expectError(other, 409, 'history_changed', { last_seq: 12 })
    })

  it('at no event is not asked anything', async () => {
    expect((await page(0, '2026-01-01T00:00:00.000000Z')).status).to.equal(200)
  })

  for (const time of ['yesterday', '2026-01-01T00:00:00Z', '', '2026-01-01T00:00:00.0000001Z'])
    it(`is refused with ${JSON.stringify(time)} for a time`, async () => {
      expectError(await page(1, time), 400, 'invalid_cursor', { field: 'cursor_inserted_at' })
    })
})
