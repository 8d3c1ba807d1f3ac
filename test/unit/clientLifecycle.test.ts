import { expect } from 'chai'
import type { LifecycleState } from '../../src/client/lifecycle.ts'
import { Starcite } from '../../src/client/starcite.ts'
import { hurry } from '../support/hurry.ts'

const item = (cursor: string) =>
  `event: lifecycle\nid: ${cursor}\ndata: {"event":{"kind":"session.created","session_id":"s","tenant_id":"t"},"cursor":"${cursor}"}\n\n`

describe("the client's lifecycle feed", () => {
  /** What it asked for and what it told, when the server's streams are these, one after the other. */
  async function follow(count: number, streams: string[]): Promise<{ asked: string[]; cursors: string[] }> {
    const asked: string[] = []
    const fetch = async (url: string) => {
      asked.push(new URL(url).search)
      return new Response(streams[asked.length - 1], { headers: { 'content-type': 'text/event-stream' } })
    }
    const cursors: string[] = []
    for await (const { event, cursor } of new Starcite({ url: 'http://x.test', fetch }).lifecycle()) {
      expect(event).to.include({ kind: 'session.created', session_id: 's' })
      cursors.push(cursor)
      if (cursors.length === count) break
    }
    return { asked, cursors }
  }

  it('comes back with the cursor of the last event, and drops one that was cut in half', async () => {
    const streams = [item('a') + item('b') + item('c').slice(0, -2), item('c')]

    expect(await follow(3, streams)).to.deep.equal({ asked: ['', '?cursor=b'], cursors: ['a', 'b', 'c'] })
  })

  it('waits for answers that are not the feed, says for what, and comes back with its cursor', async () => {
    const answers = [
      new Response('<html>sign in</html>'),
      new Response('<html>', { status: 403 }),
      new Response(`${item('a')}data: {"kind":7}\n\n`, { headers: { 'content-type': 'text/event-stream' } }),
      new Response(null, { status: 204 }),
      new Response(item('b'), { headers: { 'content-type': 'text/event-stream' } }),
    ]
    const asked: string[] = []
    const states: (string | number)[] = []
    const cursors: string[] = []
    const fetch = async (url: string) => {
      asked.push(new URL(url).search)
      return answers.shift() as Response
    }
    const unhurry = hurry()
    const onConnection = (state: LifecycleState) =>
      states.push(state.at === 'waiting' ? `${state.error.code} ${state.error.status}` : state.at)

    for await (const { cursor } of new Starcite({ url: 'http://x.test', fetch }).lifecycle({
      onConnection,
    })) {
      cursors.push(cursor)
      if (cursor === 'b') break
    }
    unhurry()

    expect(cursors).to.deep.equal(['a', 'b'])
    expect(asked).to.deep.equal(['', '', '', '?cursor=a', '?cursor=a'])
    expect(states).to.deep.equal([
      'invalid_answer 200',
      'network_error 403',
      'open',
      'invalid_answer 0',
      'network_error 0',
      'open',
    ])
  })

  it('goes on from where the feed began when it was cut before the first event', async () => {
    const streams = ['retry: 1000\nid: start\n\n', item('a')]

    expect(await follow(1, streams)).to.deep.equal({ asked: ['', '?cursor=start'], cursors: ['a'] })
  })
})
