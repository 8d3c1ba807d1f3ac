import { expect } from 'chai'
import { WebSocket } from 'ws'
import { call, TailClient } from '../support/client.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { type NodeProcess, type Settings, spawnNode } from '../support/node.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

/** Many times the time-outs of requests and of kept connections; at night past the usual ones, and those of common proxies. */
const LIFE_MS = IS_NIGHTLY ? 3 * 60_000 : 6_000
const TALK_EVERY_MS = LIFE_MS / 36
const TIMEOUTS: Settings = IS_NIGHTLY
  ? {}
  : {
      STARCITE_HEADERS_TIMEOUT: '500ms',
      STARCITE_REQUEST_TIMEOUT: '500ms',
      STARCITE_KEEP_ALIVE_TIMEOUT: '1s',
      STARCITE_PING_INTERVAL: '600ms',
    }

describe(`tails that live for ${LIFE_MS / 1000} s, past every time-out of HTTP`, function () {
  this.timeout(LIFE_MS + 150_000)
  const database = useDatabase()
  const db = useConnection(database)
  let node: NodeProcess

  before(async () => {
    node = await spawnNode(database, TIMEOUTS)
  })
  after(async () => {
    await node.kill('SIGTERM')
  })

  it('get every event, early and late, whether their client talks or is silent', async () => {
    for (const id of ['busy', 'quiet']) await call('POST', `${node.url}/v1/sessions`, { id })
    const open = (session: string) => new TailClient(node.url, session, 'cursor=0')
    const talking = [open('busy'), open('quiet')]
    const silent = [open('busy'), open('quiet')]
    const all = [...talking, ...silent]
    let pings = 0
    silent[1]?.socket.on('ping', () => {
      pings += 1
    })
    await until('they are open', () => all.every(({ socket }) => socket.readyState === WebSocket.OPEN))

    const started = Date.now()
    let [talked, appended] = [0, 0]
    await until(
      'their time has passed',
      async () => {
        const now = Date.now() - started
        if (now >= talked * TALK_EVERY_MS) {
          talked += 1
          for (const { socket } of talking) {
            socket.send(`hello ${talked}`)
            socket.pong()
          }
          await db.query(`select starcite.append('busy', 'tick', '{}')`)
          appended += 1
        }
        return now > LIFE_MS || all.some(({ closed }) => closed !== undefined)
      },
      LIFE_MS + 10_000,
    )
    await db.query(`select starcite.append('quiet', 'tick', '{}')`)
    for (const tail of [talking[1], silent[1]]) await tail?.until(({ frames }) => frames.length === 1)

    for (const { closed } of all) expect(closed, `after ${Date.now() - started} ms`).to.equal(undefined)
    for (const tail of [talking[0], silent[0]]) expect(tail?.frames).to.have.lengthOf(appended)
    expect(pings).to.be.above(5)
    for (const tail of all) tail.close()
  })
})
