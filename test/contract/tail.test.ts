import { at } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { Guests, startGuardedNode } from '../support/guardedNode.ts'
import { startNode } from '../support/node.ts'
import { tailContract } from '../support/tailContract.ts'
import { TAIL_TRANSPORTS } from '../support/tailTransports.ts'
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

  for (const transport of TAIL_TRANSPORTS) tailContract(transport, places)
})
