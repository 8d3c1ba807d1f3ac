import { once } from 'node:events'
import { expect } from 'chai'
import { call, TailClient } from '../support/client.ts'
import { freePort, runProgram, spawnNode } from '../support/node.ts'
import { bound } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect } from '../support/template.ts'
import { timed, until } from '../support/until.ts'
import { useConnection, useDatabase } from '../support/useNode.ts'

const SPREAD_MS = 1000
const TAILS = 20

describe('a node that receives SIGTERM', () => {
  const database = useDatabase()
  const db = useConnection(database)

  const start = (settings: Record<string, string> = {}) =>
    spawnNode(database, { STARCITE_DRAIN_SPREAD: `${SPREAD_MS}ms`, ...settings })

  async function newSession({ url }: { url: string }): Promise<string> {
    return (await call('POST', `${url}/v1/sessions`, {})).json.id
  }

  it('answers what is under way, sends its tails and long-polls away, loses nothing, and ends with 0', async () => {
    const node = await spawnNode(database, { STARCITE_DRAIN_SPREAD: `${SPREAD_MS}ms` })
    const id = await newSession(node)
    const quiet = await newSession(node)
    const tails = Array.from({ length: TAILS }, () => new TailClient(node.url, id, 'cursor=0'))
    await until('there are tails', async () =>
      (await call('GET', `${node.url}/metrics`)).text.includes(`starcite_tails ${TAILS}\n`),
    )
    const polls = Array.from({ length: 5 }, () =>
      timed(call('GET', `${node.url}/v1/sessions/${quiet}/events?wait=60`)),
    )
    await until('the long-polls wait', async () =>
      (await call('GET', `${node.url}/metrics`)).text.includes(`starcite_tails ${TAILS + 5}\n`),
    )

    // Load from 16 connections, until the node takes no more.
    const acknowledged: number[] = []
    const statuses = new Set<number>()
    let refusedConnections = 0
    let isEnding = false
    let slowestMs = 0 // of appends before the end, which says what this machine is worth just now
    const load = Array.from({ length: 16 }, async () => {
      while (refusedConnections < 32) {
        try {
          const { value, ms } = await timed(
            call('POST', `${node.url}/v1/sessions/${id}/append`, { type: 't', payload: {} }),
          )
          const { status, json } = value
          if (!isEnding) slowestMs = Math.max(slowestMs, ms)
          statuses.add(status)
          if (status === 201) acknowledged.push(json.seq)
        } catch {
          refusedConnections += 1
        }
      }
    })
    await until('there is load', () => acknowledged.length > 100)
    isEnding = true
    const ending = timed(node.kill('SIGTERM'))
    const closedAfter = await Promise.all(
      tails.map(async (tail) => (await timed(tail.until(({ closed }) => closed !== undefined))).ms),
    )
    const { value: end, ms } = await ending
    await Promise.all(load)

    expect(end, node.output()).to.deep.equal({ code: 0, signal: null })
    expect(ms).to.be.below(bound(SPREAD_MS + 3000) + 5 * slowestMs)
    for (const tail of tails) expect(tail.closed).to.deep.include({ code: 1012 })
    expect(Math.max(...closedAfter)).to.be.within(SPREAD_MS / 2, bound(SPREAD_MS + 1500) + 5 * slowestMs)
    expect(Math.min(...closedAfter)).to.be.below(SPREAD_MS / 2 + 5 * slowestMs)
    for (const { value, ms: waited } of await Promise.all(polls)) {
      expect(value.status).to.equal(200)
      expect(value.json.events).to.deep.equal([])
      expect(waited).to.be.below(30_000)
    }
    // 503 is "come back elsewhere"; nothing else may be said, and what was acknowledged is there.
    expect([...statuses].filter((status) => status !== 503)).to.deep.equal([201])
    const { rows } = await db.query<{ seq: string }>(
      'select e.seq from starcite.events e join starcite.sessions s on s.sid = e.sid where s.id = $1',
      [id],
    )
    const stored = new Set(rows.map(({ seq }) => Number(seq)))
    expect(acknowledged.filter((seq) => !stored.has(seq))).to.deep.equal([])
    expect(new Set(acknowledged).size).to.equal(acknowledged.length)
  })

  it('is not ready from that moment, takes no new connections, and still answers an append in flight', async () => {
    const opsPort = String(await freePort())
    const node = await start({ STARCITE_OPS_PORT: opsPort })
    const id = await newSession(node)
    const tail = new TailClient(node.url, id, 'cursor=0')
    await until('the tail is open', () => tail.socket.readyState === 1)
    const holder = await connect(database)
    await holder.query('begin')
    await holder.query('select starcite.append($1, $2, $3)', [id, 'holds the lock', '{}'])
    const append = call('POST', `${node.url}/v1/sessions/${id}/append`, { type: 't', payload: {} })
    await until('the append waits for the lock', async () => {
      const { rowCount } = await db.query(
        `select from pg_catalog.pg_stat_activity a
          where a.datname = current_database() and a.application_name = 'starcite append' and a.wait_event_type = 'Lock'`,
      )
      return rowCount === 1
    })

    const ending = node.kill('SIGTERM')
    const ready = await until('it is not ready', async () => {
      const answer = await call('GET', `http://127.0.0.1:${opsPort}/health/ready`)
      return answer.status === 503 ? answer : undefined
    })
    const refused = await until('new connections are refused', () =>
      call('GET', `${node.url}/v1/sessions/${id}`).then(
        () => undefined,
        () => true,
      ),
    )
    await holder.query('commit')
    await holder.end()

    expect(ready.json).to.deep.equal({ status: 'unavailable', reason: 'draining' })
    expect(refused).to.equal(true)
    expect((await append).json).to.include({ seq: 2, last_seq: 2 })
    expect(await ending).to.deep.equal({ code: 0, signal: null })
  })

  it('ends at once at the second signal', async () => {
    const node = await start({ STARCITE_DRAIN_SPREAD: '30s', STARCITE_SHUTDOWN_GRACE: '60s' })
    const id = await newSession(node)
    const tails = [1, 2].map(() => new TailClient(node.url, id, 'cursor=0'))
    await until('the tails are open', () => tails.every(({ socket }) => socket.readyState === 1))

    const ended = once(node.child, 'exit')
    node.child.kill('SIGTERM')
    await until('it drains', () => node.output().includes('draining'))
    const { value, ms } = await timed(node.kill('SIGTERM'))
    await ended

    expect(value.code).to.equal(1)
    expect(ms).to.be.below(bound(3000))
    for (const tail of tails) tail.close()
  })

  it('ends within the grace time, with 0, even when a client takes no notice of its goodbye', async () => {
    const node = await start({ STARCITE_DRAIN_SPREAD: '0s', STARCITE_SHUTDOWN_GRACE: '1s' })
    const id = await newSession(node)
    const tail = new TailClient(node.url, id, 'cursor=0')
    await until('the tail is open', () => tail.socket.readyState === 1)
    tail.socket.pause()

    const { value, ms } = await timed(node.kill('SIGTERM'))

    expect(value.code, node.output()).to.equal(0)
    expect(ms).to.be.below(bound(2500))
    tail.close()
  })

  it('ends within the grace time when Postgres has fallen silent under its appends', async () => {
    const proxy = await TcpProxy.start(database)
    const node = await spawnNode(
      { url: proxy.url },
      { STARCITE_SHUTDOWN_GRACE: '1s', STARCITE_STORAGE_TIMEOUT: '30s' },
    )
    const id = await newSession(node)
    proxy.silence()
    const append = call('POST', `${node.url}/v1/sessions/${id}/append`, { type: 't', payload: {} }).then(
      ({ status }) => status,
      () => 'cut off',
    )
    await until('it is under way', async () => proxy.links > 0)

    const { value, ms } = await timed(node.kill('SIGTERM'))

    expect(await append).not.to.equal(201)
    expect([0, 1]).to.include(value.code)
    expect(ms).to.be.below(bound(4000))
    await proxy.stop()
  })

  it('ends promptly while it still waits for its database', async () => {
    const port = await freePort()
    const { child, output } = runProgram({ DATABASE_URL: `postgres://u@127.0.0.1:${port}/d`, PORT: '0' })
    await until('it waits', () => output().includes('waiting for Postgres'))

    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const { value, ms } = await timed(ended)

    expect(value, output()).to.deep.equal([0, null])
    expect(ms).to.be.below(bound(3000))
  })

  it('ends promptly while its database accepts it and says nothing', async () => {
    const proxy = await TcpProxy.start(database)
    proxy.silence()
    const { child, output } = runProgram({ DATABASE_URL: proxy.url, PORT: '0' })
    await until('it is connecting', () => proxy.links > 0)

    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const { value, ms } = await timed(ended)

    expect(value, output()).to.deep.equal([0, null])
    expect(ms).to.be.below(bound(3000))
    await proxy.stop()
  })
})
