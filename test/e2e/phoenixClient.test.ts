import { expect } from 'chai'
import { call } from '../support/client.ts'
import { freePort, startNode } from '../support/node.ts'
import { PhoenixTails } from '../support/phoenixTails.ts'
import { until } from '../support/until.ts'
import { useDatabase } from '../support/useNode.ts'

const TOPICS = 50

describe('Phoenix’s own client', () => {
  const database = useDatabase()
  let tails: PhoenixTails | undefined

  afterEach(() => tails?.close())

  const sessions = (url: string, count: number): Promise<string[]> =>
    Promise.all(
      Array.from({ length: count }, async () => (await call('POST', `${url}/v1/sessions`, {})).json.id),
    )
  const append = (url: string, id: string, payload: object = {}) =>
    call('POST', `${url}/v1/sessions/${id}/append`, { type: 't', payload })

  for (const vsn of ['2.0.0', '1.0.0'] as const)
    it(`(vsn ${vsn}) joins, appends, hears refusals, beats its heart, leaves and comes back`, async () => {
      const node = await startNode(database)
      const [id = '', other = ''] = await sessions(node.url, 2)
      tails = new PhoenixTails(() => node.url, vsn)
      await tails.tail(id)
      await tails.tail(other, 100)

      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, n) => tails?.append(id, { type: 't', payload: { n } })),
      )
      await until('all events', () => tails?.events(id).length === 50)
      const refusal = await tails.append(id, { type: 't' }).catch((error) => error)
      const unknown = await tails.tail('nobody').catch((error) => error)

      expect(answers.map((answer) => answer?.seq)).to.deep.equal(Array.from({ length: 50 }, (_, n) => n + 1))
      expect(refusal).to.include({ error: 'invalid_event', field: 'payload' })
      expect(unknown).to.deep.equal({ reason: 'session_not_found' })
      const pong = await new Promise<number>((resolve) => tails?.socket.ping(resolve))
      expect(pong).to.be.a('number')
      expect(tails.faults).to.deep.equal([])

      await new Promise((resolve) => tails?.channel(id).leave().receive('ok', resolve))
      await append(node.url, id)
      await tails.tail(id)
      await until('the whole log again', () => tails?.events(id).length === 51)
      expect(tails.faults).to.deep.equal([`${id} was closed`])
      await node.stop()
    })

  it(`joined to ${TOPICS} topics through a restart of its node resumes each by its cursor`, async () => {
    const PORT = String(await freePort())
    let node = await startNode(database, { PORT })
    const ids = await sessions(node.url, TOPICS)
    const client = new PhoenixTails(() => node.url)
    tails = client
    await Promise.all(ids.map((id, i) => client.tail(id, i % 2 ? 20 : undefined)))
    await Promise.all(ids.flatMap((id) => [append(node.url, id), append(node.url, id)]))
    await until('each has its first', () => ids.every((id) => client.events(id).length === 2))

    await node.stop()
    const elsewhere = await startNode(database)
    await Promise.all(ids.flatMap((id) => [append(elsewhere.url, id), append(elsewhere.url, id)]))
    node = await startNode(database, { PORT })
    await until('each has what was appended meanwhile', () =>
      ids.every((id) => client.events(id).length === 4),
    )
    await Promise.all(ids.map((id) => append(node.url, id)))
    await until('each has what came after', () => ids.every((id) => client.events(id).length === 5))

    expect(client.closes[0]).to.equal(1012)
    expect(client.faults).to.deep.equal([])
    client.close()
    await elsewhere.stop()
    await node.stop()
  })
})
