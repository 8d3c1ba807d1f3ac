import { expect } from 'chai'
import type { StarciteOptions } from '../../src/client/core/starcite.ts'
import type { StarciteError } from '../../src/client/errors.ts'
import { Starcite } from '../../src/client/starcite.ts'
import type { TailOptions, TailState } from '../../src/client/tail/tail.ts'
import type { SessionEvent } from '../../src/client/types.ts'

const frame = (seq: number) =>
  `{"seq":${seq},"type":"content","payload":{"n":${seq}},"actor":"a","metadata":{},"refs":{},"inserted_at":"t"}`
const frames = (...seqs: number[]) => `[${seqs.map(frame).join(',')}]`

import { hurry } from '../support/hurry.ts'

type Step =
  | string // a frame
  | { close: number; reason?: string }
  | { refuse: true } // the handshake

/** A WebSocket whose server follows a script: one list of steps for each connection, the last again and again. */
function scripted(...connections: Step[][]) {
  const urls: URL[] = []
  class Scripted extends EventTarget {
    constructor(url: string) {
      super()
      const steps = connections[Math.min(urls.length, connections.length - 1)] ?? []
      urls.push(new URL(url))
      setImmediate(() => this.#play(steps))
    }

    #play(steps: Step[]): void {
      if (!steps.some((step) => typeof step === 'object' && 'refuse' in step)) this.#tell('open', {})
      for (const step of steps) {
        if (typeof step === 'string') this.#tell('message', { data: step })
        else this.#tell('close', 'close' in step ? { reason: '', ...step, code: step.close } : { code: 1006 })
      }
    }

    #tell(type: string, members: object): void {
      this.dispatchEvent(Object.assign(new Event(type), members))
    }

    close(): void {}
    send(): void {}
  }
  return { WebSocket: Scripted, urls }
}

/** A server that answers HTTP with what the test says, by the path and query of the request. */
function answering(
  answer: (path: string, headers: Record<string, string>) => [status: number, body: object],
) {
  return async (url: string, init: RequestInit) => {
    const { pathname, search } = new URL(url)
    const [status, body] = answer(pathname + search, init.headers as Record<string, string>)
    return new Response(JSON.stringify(body), { status })
  }
}

function nextToken(): () => Promise<string> {
  let tokens = 0
  return async () => {
    tokens += 1
    return `token ${tokens}`
  }
}

const session = (last_seq: number) => ({ id: 's', last_seq })

describe("the client's tail", () => {
  let unhurry: () => void
  before(() => {
    unhurry = hurry()
  })
  after(() => unhurry())

  /** The seqs of the first events, and what the client did for them. */
  async function take(
    count: number,
    options: Omit<StarciteOptions, 'url'>,
    tail: TailOptions = {},
  ): Promise<{ seqs: number[]; states: TailState[]; events: SessionEvent[] }> {
    const states: TailState[] = []
    const events: SessionEvent[] = []
    const client = new Starcite({ url: 'http://x.test', ...options })
    for await (const event of client
      .session('s')
      .tail({ ...tail, onConnection: (state) => states.push(state) })) {
      events.push(event)
      if (events.length === count) break
    }
    return { seqs: events.map((event) => event.seq), states, events }
  }

  const failure = (promise: Promise<unknown>): Promise<StarciteError> =>
    promise.then(
      () => expect.fail('it did not fail'),
      (error) => error,
    )

  it('comes back with its cursor after every end but that of follow: false', async () => {
    const { WebSocket, urls } = scripted(
      [frames(1, 2), { close: 1012 }],
      [frame(3), { close: 1013 }],
      [{ close: 1011 }],
      [frame(4), { close: 1006 }],
      [frame(5), { close: 1000 }],
      [frame(6)],
    )

    const { seqs } = await take(6, { WebSocket })

    expect(seqs).to.deep.equal([1, 2, 3, 4, 5, 6])
    expect(urls.map((url) => url.searchParams.get('cursor'))).to.deep.equal(['0', '2', '3', '3', '4', '5'])
  })

  it('ends when follow: false has reached the end', async () => {
    const { WebSocket, urls } = scripted(
      [frames(1, 2), { close: 1006 }],
      [frame(3), { close: 1000, reason: 'finished' }],
    )

    const { seqs } = await take(10, { WebSocket }, { follow: false })

    expect(seqs).to.deep.equal([1, 2, 3])
    expect(urls[0]?.searchParams.get('follow')).to.equal('false')
  })

  it('does not take the end of something in between for the end of the session', async () => {
    const { WebSocket, urls } = scripted(
      [frame(1), { close: 1000, reason: '' }],
      [frame(2), { close: 1000, reason: 'idle' }],
    )
    const fetch = answering(() => [200, session(2)])
    let streams = 0
    const sse = async (url: string) => {
      if (!url.includes('/tail')) return new Response(JSON.stringify(session(1)))
      streams += 1
      if (streams !== 2) return new Response(null, { status: 204 })
      return new Response(`id: 1\ndata: ${frame(1)}\n\n`, {
        headers: { 'content-type': 'text/event-stream' },
      })
    }

    const bySocket = await take(10, { WebSocket, fetch }, { follow: false })
    const byStream = await take(10, { fetch: sse }, { follow: false, transport: 'sse' })
    streams = 0
    const endless = await take(1, { fetch: sse }, { transport: 'sse' })

    expect(bySocket.seqs).to.deep.equal([1, 2])
    expect(urls.length).to.equal(2)
    expect(byStream.seqs).to.deep.equal([1])
    expect(endless.seqs).to.deep.equal([1])
  })

  it('comes back when what it is sent is no event', async () => {
    const junk = [
      '<html>',
      '{"seq":1}',
      '7',
      '[{"seq":1',
      frame(1).replace('"payload":{"n":1}', '"payload":7'),
    ]
    const { WebSocket, urls } = scripted(...junk.map((value) => [value]), [frame(1)])

    const { seqs, states } = await take(1, { WebSocket })

    expect(seqs).to.deep.equal([1])
    expect(urls.length).to.equal(junk.length + 1)
    expect(states.filter(({ at }) => at === 'waiting').length).to.equal(junk.length)
  })

  it('drops what it has seen, and asks again rather than skip', async () => {
    const { WebSocket, urls } = scripted([frames(1, 2), frames(1, 2, 3), frames(5, 6)], [frames(4, 5)])

    const { seqs } = await take(5, { WebSocket })

    expect(seqs).to.deep.equal([1, 2, 3, 4, 5])
    expect(urls[1]?.searchParams.get('cursor')).to.equal('3')
  })

  it('ends with events_missing when a gap persists', async () => {
    const { WebSocket } = scripted([frame(2)])

    const error = await failure(take(1, { WebSocket }))

    expect(error).to.include({ code: 'events_missing' })
    expect(error.details).to.deep.equal({ cursor: 0, seq: 2 })
  })

  it('gets another token after 4001 and goes on; a token that cannot be renewed ends it', async () => {
    const script = () => scripted([frame(1), { close: 4001 }], [frame(2)])
    const { WebSocket, urls } = script()
    const token = nextToken()

    const { seqs } = await take(2, { WebSocket, token })
    const error = await failure(take(2, { WebSocket: script().WebSocket, token: 'for ever the same' }))

    expect(seqs).to.deep.equal([1, 2])
    expect(urls.map((url) => url.searchParams.get('access_token'))).to.deep.equal(['token 1', 'token 2'])
    expect(error).to.include({ code: 'token_expired', status: 401 })
  })

  it('ends with a typed error when the session is erased', async () => {
    const { WebSocket } = scripted([frame(1), { close: 4004 }])

    expect(await failure(take(2, { WebSocket }))).to.include({ code: 'session_erased', status: 410 })
  })

  it('asks over HTTP why a handshake failed, and tells what does not pass', async () => {
    const { WebSocket } = scripted([{ refuse: true }])
    const fetch = answering(() => [404, { error: 'session_not_found', message: 'no' }])
    const ahead = answering(() => [200, session(3)])

    expect(await failure(take(1, { WebSocket, fetch }))).to.include({ code: 'session_not_found' })
    const error = await failure(take(1, { WebSocket, fetch: ahead }, { cursor: 9 }))
    expect(error).to.include({ code: 'cursor_ahead' })
    expect(error.details).to.deep.equal({ last_seq: 3 })
  })

  it('renews a token that the handshake was refused for', async () => {
    const { WebSocket, urls } = scripted([{ refuse: true }], [frame(1)])
    const token = nextToken()
    const fetch = answering((_, headers) =>
      headers.authorization === 'Bearer token 1' ? [401, { error: 'unauthorized' }] : [200, session(1)],
    )

    const { seqs } = await take(1, { WebSocket, fetch, token })

    expect(seqs).to.deep.equal([1])
    expect(urls.map((url) => url.searchParams.get('access_token'))).to.deep.equal(['token 1', 'token 2'])
  })

  it('waits through an outage, and reports it to onConnection', async () => {
    const { WebSocket } = scripted([{ refuse: true }], [{ refuse: true }], [frame(1)])
    const fetch = answering(() => [503, { error: 'draining', retry_after_ms: 1 }])

    const { seqs, states } = await take(1, { WebSocket, fetch })

    expect(seqs).to.deep.equal([1])
    expect(states.map((state) => (state.at === 'waiting' ? state.error.code : state.at))).to.deep.equal([
      'draining',
      'draining',
      'open',
    ])
  })

  it('takes server-sent events where WebSockets do not come through', async () => {
    const { WebSocket, urls } = scripted([{ refuse: true }])
    const streams: string[] = []
    const fetch = async (url: string, init: RequestInit) => {
      if (!url.includes('/tail')) return new Response(JSON.stringify(session(3)))
      expect(init.headers).to.include({ accept: 'text/event-stream' })
      streams.push(url)
      const seqs = streams.length === 1 ? [1, 2] : [3]
      const body = `retry: 1000\n${seqs.map((seq) => `id: ${seq}\ndata: ${frame(seq)}\n\n`).join('')}`
      return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } })
    }

    const { seqs, states } = await take(3, { WebSocket, fetch })

    expect(seqs).to.deep.equal([1, 2, 3])
    expect(urls.length).to.equal(2)
    expect(streams.map((stream) => new URL(stream).search)).to.deep.equal([
      '?cursor=0',
      '?cursor=2&cursor_inserted_at=t',
    ])
    expect(states.flatMap((state) => (state.at === 'open' ? state.transport : []))).to.deep.equal([
      'sse',
      'sse',
    ])
  })

  it('finds a link that fell silent by asking for what lies past its cursor', async () => {
    const { WebSocket, urls } = scripted([frame(1)], [frame(2)])
    const asked: string[] = []
    const fetch = answering((path) => {
      asked.push(path)
      return [200, { events: asked.length < 3 ? [] : [{ seq: 2 }], next_cursor: 1, last_seq: 2 }]
    })

    const { seqs } = await take(2, { WebSocket, fetch }, { silenceMs: 10 })

    expect(seqs).to.deep.equal([1, 2])
    expect(asked).to.deep.equal(Array(3).fill('/v1/sessions/s/events?cursor=1&cursor_inserted_at=t&limit=1'))
    expect(urls.length).to.equal(2)
  })

  it('holds a bounded part of what a reader does not take, and comes back for the rest', async () => {
    const large = (seq: number) => frame(seq).replace('"n"', `"x":"${'x'.repeat(1_500_000)}","n"`)
    const { WebSocket, urls } = scripted(
      [1, 2, 3, 4, 5, 6].map(large), // the script says it all at once, as a browser would
      [4, 5, 6].map(large),
    )

    const { seqs } = await take(6, { WebSocket })

    expect(seqs).to.deep.equal([1, 2, 3, 4, 5, 6])
    expect(urls.map((url) => url.searchParams.get('cursor'))).to.deep.equal(['0', '3'])
  })

  it('keeps the text of each event, numbers past 2^53 and all', async () => {
    const texts = [1, 2].map((seq) =>
      frame(seq).replace(
        '{"n":',
        `{"id": 9007199254740993, "s": "],[\\"{\\\\", "nested":[{"seq":2,"type":"x"}],"n":`,
      ),
    )
    const { WebSocket } = scripted([`[${texts.join(',')}]`])

    const { events } = await take(2, { WebSocket })

    expect(events.map((event) => event.raw)).to.deep.equal(texts)
    expect(JSON.stringify(events[0])).not.to.include('"raw"')
  })

  it('ends without an error when its signal is aborted, also while it waits', async () => {
    const { WebSocket } = scripted([frame(1)])
    const abort = new AbortController()
    const client = new Starcite({ url: 'http://x.test', WebSocket })
    const seqs: number[] = []

    for await (const event of client.session('s').tail({ signal: abort.signal })) {
      seqs.push(event.seq)
      setImmediate(() => abort.abort())
    }

    expect(seqs).to.deep.equal([1])
  })
})
