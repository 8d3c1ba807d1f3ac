import { expect } from 'chai'
import { Starcite } from '../../src/client/starcite.ts'

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

  it('goes on from where the feed began when it was cut before the first event', async () => {
    const streams = ['retry: 1000\nid: start\n\n', item('a')]

    expect(await follow(1, streams)).to.deep.equal({ asked: ['', '?cursor=start'], cursors: ['a'] })
  })
})
