import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { call } from '../support/client.ts'
import { IS_NIGHTLY } from '../support/nightly.ts'
import { spawnNode, startNode } from '../support/node.ts'
import { SocketClient } from '../support/socketClient.ts'
import { connect } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useDatabase } from '../support/useNode.ts'

const seqs = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

describe('the multiplexed socket under pressure', function () {
  this.timeout(120_000)
  const database = useDatabase()
  const clients: SocketClient[] = []

  afterEach(() => {
    for (const client of clients.splice(0)) client.close()
  })

  async function open(url: string): Promise<SocketClient> {
    const client = await SocketClient.open(url)
    clients.push(client)
    return client
  }

  /** A session with so many events of so many bytes. */
  async function session(url: string, events: number, bytes: number): Promise<string> {
    const { id } = (await call('POST', `${url}/v1/sessions`, {})).json
    const text = 'x'.repeat(bytes)
    for (let from = 0; from < events; from += 10) {
      const batch = seqs(Math.min(10, events - from)).map((n) => ({
        type: 'big',
        payload: { n: from + n, text },
      }))
      const answer = await call('POST', `${url}/v1/sessions/${id}/events`, { events: batch })
      expect(answer.status, answer.text).to.equal(201)
    }
    return id
  }

  it('of peers that take nothing holds a few pages for each, however many topics they have (I8)', async () => {
    const [SOCKETS, TOPICS, EVENTS] = [30, 20, 5]
    const node = await spawnNode(database)
    const ids = await Promise.all(seqs(TOPICS).map(() => session(node.url, EVENTS, 200_000)))
    const residentMb = async () => {
      const status = await readFile(`/proc/${node.child.pid}/status`, 'utf8')
      return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
    }
    const before = await residentMb()

    // All of it would be 600 MB; a page for each topic, with what it is made from, 300 MB.
    const stalled = await Promise.all(seqs(SOCKETS).map(() => open(node.url)))
    for (const client of stalled) {
      client.ws.pause()
      client.send(...ids.map((id, i) => [`${i}`, `${i}`, `tail:${id}`, 'phx_join', {}]))
    }
    const keen = await open(node.url)
    keen.send(...ids.map((id, i) => [`${i}`, `${i}`, `tail:${id}`, 'phx_join', {}]))
    let peak = 0
    const hasAll = ({ texts }: SocketClient) => texts.length === TOPICS * (1 + EVENTS)
    await until(
      'all tails are open, and the keen one has it all',
      async () => {
        peak = Math.max(peak, await residentMb())
        const { text } = await call('GET', `${node.url}/metrics`)
        return text.includes(`starcite_tails ${(SOCKETS + 1) * TOPICS}\n`) && hasAll(keen)
      },
      40_000,
    )

    if (process.env.STARCITE_TEST_FIGURES)
      console.log(`resident: ${Math.round(before)} MB before, ${Math.round(peak)} MB at most`)
    expect(peak - before).to.be.below(IS_NIGHTLY ? SOCKETS * 1.5 + 150 : 400) // garbage comes on top of pages
    for (const client of [keen, ...stalled.slice(0, 2)]) {
      client.ws.resume()
      await until('it has it all', () => hasAll(client))
      for (const id of ids)
        expect(client.events(`tail:${id}`).map(({ seq }) => seq)).to.deep.equal(seqs(EVENTS))
    }
    expect(keen.closed).to.equal(undefined)
    await node.kill('SIGTERM')
  })

  it('is fair: a live topic does not wait for the end of another one’s replay', async () => {
    const node = await startNode(database)
    const [big, live] = [await session(node.url, 60, 100_000), await session(node.url, 0, 0)]
    const client = await open(node.url)
    await client.join(`tail:${live}`, {}, 'l')
    client.send(['b', 'b', `tail:${big}`, 'phx_join', {}])
    await client.reply('b')
    client.ws.pause()

    await call('POST', `${node.url}/v1/sessions/${live}/append`, { type: 'now', payload: {} })
    client.ws.resume()
    await until('all is there', () => client.texts.length === 63)

    const order = client.frames.filter(([, , , event]) => event === 'events').map(([, , topic]) => topic)
    expect(order.indexOf(`tail:${live}`)).to.be.within(0, 50)
    await node.stop()
  })

  it('reads nothing more from a client that does not take its answers, and ends with 1013', async () => {
    const node = await startNode(database, { STARCITE_STALL_TIMEOUT: '500ms' })
    const id = await session(node.url, 0, 0)
    const client = await open(node.url)
    await client.join(`tail:${id}`, { batch_size: 1000 })
    client.ws.pause()

    const text = 'x'.repeat(50_000)
    let sent = 0
    const pushMore = () => {
      for (let i = 0; i < 20 && client.ws.bufferedAmount < 4_000_000; i += 1)
        client.send(['1', String(++sent), `tail:${id}`, 'append', { type: 't', payload: { text } }])
    }
    await until(
      'the node has given it up',
      async () => {
        pushMore()
        return (await call('GET', `${node.url}/metrics`)).text.includes('starcite_tails 0\n')
      },
      30_000,
    )
    const { last_seq } = (await call('GET', `${node.url}/v1/sessions/${id}`)).json
    client.ws.resume()
    const { code } = await client.end()

    expect(sent).to.be.above(last_seq)
    expect([1013, 1006]).to.include(code) // 1006: its connection was cut before it read the goodbye
    await node.stop()
  })

  it('of a node that drains: what is under way is answered, then it is closed with 1012', async () => {
    const node = await startNode(database)
    const id = await session(node.url, 0, 0)
    const topic = `tail:${id}`
    const client = await open(node.url)
    await client.join(topic)
    const [holder, watcher] = [await connect(database), await connect(database)]
    await holder.query('begin')
    await holder.query('select starcite.append($1, $2, $3)', [id, 'holds the lock', '{}'])
    client.send(['1', '2', topic, 'append', { type: 't', payload: {} }])
    await until('the append waits for the lock', async () => {
      const { rowCount } = await watcher.query(
        `select from pg_catalog.pg_stat_activity a
          where a.datname = current_database() and a.application_name = 'starcite append' and a.wait_event_type = 'Lock'`,
      )
      return rowCount === 1
    })

    const stopped = node.stop()
    let ref = 10
    await until('no more is joined', async () => {
      const answer = await client.join('tail:nobody', {}, String(++ref))
      return (answer as { response: { reason: string } }).response.reason === 'draining'
    })
    client.send(['1', '3', topic, 'append', { type: 't', payload: {} }])
    client.send([null, '4', 'phoenix', 'heartbeat', {}])
    await client.reply('4')
    await holder.query('commit')
    const closed = await client.end()
    await stopped
    await holder.end()
    await watcher.end()

    const replies = client.frames
      .filter(([, ref]) => ref === '2' || ref === '3')
      .map(([, ref, , , payload]) => [ref, payload])
    expect(replies).to.have.length(2)
    expect(replies[0]).to.deep.equal([
      '2',
      { status: 'ok', response: { seq: 2, last_seq: 2, deduped: false, cursor: 2, committed_cursor: 2 } },
    ])
    expect(replies[1]?.[1]).to.have.nested.property('response.error', 'draining')
    expect(closed).to.deep.equal({ code: 1012, reason: 'draining' })
  })
})
