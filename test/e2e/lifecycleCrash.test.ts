import { expect } from 'chai'
import { at, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { EventStreamClient } from '../support/eventStreamClient.ts'
import { spawnNode, startNode } from '../support/node.ts'
import { useDatabase } from '../support/useNode.ts'

describe('the lifecycle feed and the death of nodes', function () {
  this.timeout(120_000)
  const database = useDatabase()

  it('has all that was acknowledged, although the only node is killed right after it, again and again', async () => {
    const lastSeqs = new Map<string, number>()
    const told = new Map<string, number>()
    const changes: string[] = []
    let cursor = '0.0'

    const isComplete = ({ messages }: EventStreamClient) => {
      for (const { data, id } of messages.splice(0)) {
        const { event } = JSON.parse(data)
        if (event.kind === 'session.appended') told.set(event.session_id, event.last_seq)
        else changes.push(`${event.kind} ${event.session_id}`)
        cursor = id
      }
      return [...lastSeqs].every(([id, seq]) => told.get(id) === seq)
    }
    const follow = (url: string) => new EventStreamClient(`${url}/v1/lifecycle`, { 'last-event-id': cursor })
    const append = async (url: string, id: string) =>
      lastSeqs.set(id, (await call('POST', at(url, id, '/append'), { type: 't', payload: {} })).json.seq)

    for (let round = 0; round < 2; round += 1) {
      const node = await spawnNode(database)
      const stream = follow(node.url)
      await stream.until('what was before', isComplete)
      const old = [...lastSeqs.keys()]
      const created = Array.from({ length: 20 }, () => unique())
      await Promise.all(
        created.map(async (id) => {
          await call('POST', `${node.url}/v1/sessions`, { id })
          await append(node.url, id)
        }),
      )
      await Promise.all(old.map((id) => append(node.url, id)))
      await node.kill('SIGKILL')
      await stream.until('the end', ({ ended }) => ended)
      isComplete(stream)
    }
    const last = await startNode(database)
    const stream = follow(last.url)
    await stream.until('all', isComplete)
    stream.close()
    await last.stop()

    const all = [...lastSeqs.keys()].flatMap((id) => [`session.activated ${id}`, `session.created ${id}`])
    expect(changes).to.have.lengthOf(all.length).and.to.have.members(all)
  })
})
