import { expect } from 'chai'
import { at } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { cutLog } from '../support/cutLog.ts'
import { Guests, startGuardedNode } from '../support/guardedNode.ts'
import { startNode } from '../support/node.ts'
import { tailContract } from '../support/tailContract.ts'
import { endOf, has } from '../support/tailsUnderTest.ts'
import { TAIL_TRANSPORTS, WEB_SOCKET } from '../support/tailTransports.ts'
import { TieringLab } from '../support/tiering.ts'
import { use } from '../support/use.ts'
import { useConnection, useDatabase, useNode } from '../support/useNode.ts'

const BIG = { id: 'big', events: 30 }

describe('tails of a session', () => {
  const database = useDatabase()
  const guests = new Guests()
  const lab = use(() => TieringLab.open())
  const places = {
    database,
    db: useConnection(database),
    node: useNode(database, { STARCITE_POLL_INTERVAL: '50ms' }),
    narrow: useNode(database, { STARCITE_RING_EVENTS: '2' }),
    unaware: useNode(database, { STARCITE_POLL_INTERVAL: '5m' }),
    strict: useNode(database, { STARCITE_STALL_TIMEOUT: '100ms' }),
    guarded: use(() => startGuardedNode(database, guests, { maxTails: 2 })),
    guests,
    big: BIG,
    lab,
    cold: use(() => startNode(lab.database, { STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '86400000' })),
  }

  before(async () => {
    await lab.makeAllDue() // the node has set its own retention when it started
    const events = Array.from({ length: BIG.events / 3 }, () => ({
      type: 'big',
      payload: { text: 'x'.repeat(500_000) },
    }))
    await call('POST', `${places.node.url}/v1/sessions`, { id: BIG.id })
    for (let i = 0; i < 3; i += 1) await call('POST', at(places.node.url, BIG.id, '/events'), { events })
  })

  it('end as well when a request of history that waits finds another event at the end of the log', async () => {
    const { node, unaware, db } = places
    const { id } = (await call('POST', `${node.url}/v1/sessions`, {})).json
    const append = () => call('POST', at(node.url, id, '/append'), { type: 'n', payload: {} })
    await append()
    await append()
    const reader = WEB_SOCKET.open(unaware.url, id)
    await has(reader, 2)
    const { rows } = await db.query('select s.sid from starcite.sessions s where s.id = $1', [id])
    await cutLog(db, rows[0].sid, 1, async () => {
      await db.query(`select starcite.append($1, 'again', '{}')`, [id])
    })

    const refused = await call('GET', at(unaware.url, id, '/events?cursor=2&wait=60'))

    expect(refused.status).to.equal(503)
    expect(refused.json.message).to.match(/may have gone back/)
    expect(await endOf(reader)).to.equal(WEB_SOCKET.ends.changed)
  })

  for (const transport of TAIL_TRANSPORTS) tailContract(transport, places)
})
