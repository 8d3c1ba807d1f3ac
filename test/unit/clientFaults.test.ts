import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { expect } from 'chai'
import type { StarciteOptions } from '../../src/client/core/starcite.ts'
import { StarciteError } from '../../src/client/errors.ts'
import { Starcite } from '../../src/client/starcite.ts'
import { hurry } from '../support/hurry.ts'
import { answer, ModelServer } from '../support/modelServer.ts'

/** A server that answers the first request so, and the later ones, if it is to be answered at all, as the contract has it. */
type Reply = () => Response | Promise<Response>
/** What a call does about that. */
type Run = (reply: Reply, token: string | undefined) => Promise<string>

const DOCS = new URL('../../docs/client.md', import.meta.url)
const [BEGIN, END] = ['<!-- fault matrix -->', '<!-- end of the fault matrix -->']
const AT_A_TIME = 25
const BASE = 'http://x.test'
const WITHOUT_BODY = [204, 205, 304]
const REDIRECTS = [301, 302, 303, 307, 308]
const PLACES = [
  ['to the same origin', '/moved', 'a token'],
  ['to another origin', 'http://elsewhere.test/moved', undefined],
  ['to another origin, with a token', 'http://elsewhere.test/moved', 'a token'],
] as const
const EVENT = { type: 'content', payload: { text: 'x'.repeat(2000) } }
const NUMBERED = { ...EVENT, producer_id: 'p', producer_seq: 1 }
const SESSION = {
  id: 's',
  title: null,
  metadata: {},
  tenant_id: 't',
  last_seq: 1,
  version: 1,
  archived: false,
  created_at: 't',
  updated_at: 't',
}
const FRAME = '{"seq":1,"type":"a","payload":{},"actor":"a","metadata":{},"refs":{},"inserted_at":"t"}'
const LIFECYCLE =
  'data: {"event":{"kind":"session.erased","session_id":"s","tenant_id":"t"},"cursor":"1"}\n\n'

const stream = (text: string) => new Response(text, { headers: { 'content-type': 'text/event-stream' } })

/** A request that came where a redirect led. */
const followed = async ({ method }: RequestInit) =>
  answer(404, { error: `follows_by_${method?.toLowerCase()}` })

const follows = (code: string) => `follows, by ${code.replace('follows_by_', '').toUpperCase()}`

const client = ({
  token,
  ...options
}: Omit<StarciteOptions, 'url' | 'token'> & { token: string | undefined }) =>
  new Starcite({ url: BASE, ...options, ...(token !== undefined && { token }) })

async function first<T>(items: AsyncIterable<T>): Promise<T> {
  for await (const item of items) return item
  throw new Error('it ended quietly')
}

/** What a plain call does that is answered the same again and again. */
function plain(call: (starcite: Starcite) => Promise<unknown>): Run {
  return async (reply, token) => {
    let tries = 0
    const fetch = (url: string, init: RequestInit) => {
      if (url.endsWith('/moved')) return followed(init)
      tries += 1
      return Promise.resolve(reply())
    }
    const outcome = await call(client({ fetch, token })).then(
      () => 'resolves',
      (error: StarciteError) => error,
    )
    if (typeof outcome === 'string') return outcome
    if (!(outcome instanceof StarciteError)) return `throws ${outcome}`
    if (outcome.code.startsWith('follows')) return follows(outcome.code)
    const known = outcome.details.outcome_unknown ? ', outcome unknown' : ''
    const again = tries > 1 ? `, after ${tries} tries` : ''
    return `\`${outcome.code}\`${known}${again}`
  }
}

/** What something long-lived does that is answered so once, and then well. */
async function lasting(run: () => Promise<unknown>, tries: () => number): Promise<string> {
  try {
    await run()
    return tries() > 1 ? 'tries on' : 'resolves'
  } catch (error) {
    const { code } = error as StarciteError
    return code.startsWith('follows') ? follows(code) : `ends: \`${code}\``
  }
}

const outbox: Run = async (reply, token) => {
  const server = new ModelServer()
  const refused: string[] = []
  let tries = 0
  const fetch = async (url: string, init: RequestInit) => {
    if (url.endsWith('/moved')) return followed(init)
    tries += 1
    return tries === 1 ? reply() : server.fetch(url, init)
  }
  const box = client({ fetch, token })
    .session('s')
    .outbox({ onRefused: ({ code }) => refused.push(code) })
  const sent = box.send(EVENT).catch((error) => {
    if (refused.length === 0) throw error
  })
  const outcome = await lasting(
    () => sent,
    () => tries,
  )
  await box.stop()
  return refused.length > 0 ? `refuses the event: \`${refused[0]}\`` : outcome
}

function tail(transport: 'sse' | 'websocket', follow: boolean): Run {
  return async (reply, token) => {
    let [answers, opened] = [0, 0]
    const fetch = async (url: string, init: RequestInit) => {
      if (url.endsWith('/moved')) return followed(init)
      answers += 1
      if (answers === 1) return reply()
      if (!url.includes('/tail')) return answer(200, SESSION)
      return stream(`id: 1\ndata: ${FRAME}\n\n`)
    }
    class Socket extends EventTarget {
      constructor() {
        super()
        opened += 1
        const isBad = opened === 1
        setImmediate(() => {
          if (isBad) return this.dispatchEvent(Object.assign(new Event('close'), { code: 1006, reason: '' }))
          this.dispatchEvent(new Event('open'))
          return this.dispatchEvent(Object.assign(new Event('message'), { data: FRAME }))
        })
      }
      close(): void {}
      send(): void {}
    }
    const starcite = client({ fetch, WebSocket: Socket, token })
    const abort = new AbortController()
    const run = () => first(starcite.session('s').tail({ transport, follow, signal: abort.signal }))
    return lasting(run, () => answers + opened)
  }
}

const lifecycle: Run = (reply, token) => {
  let answers = 0
  const fetch = async (url: string, init: RequestInit) => {
    if (url.endsWith('/moved')) return followed(init)
    answers += 1
    return answers === 1 ? reply() : stream(LIFECYCLE)
  }
  return lasting(
    () => first(client({ fetch, token }).lifecycle()),
    () => answers,
  )
}

const CALLS: Readonly<Record<string, Run>> = {
  '`getSession`': plain((client) => client.getSession('s')),
  '`listSessions`': plain((client) => first(client.listSessions())),
  '`history`': plain((client) => first(client.session('s').history())),
  '`archive`': plain((client) => client.archive('s')),
  '`unarchive`': plain((client) => client.unarchive('s')),
  '`append` with producer fields': plain((client) => client.session('s').append(NUMBERED)),
  '`appendMany` with producer fields': plain((client) => client.session('s').appendMany([NUMBERED])),
  '`createSession`': plain((client) => client.createSession({ id: 's', metadata: EVENT.payload })),
  '`patch`': plain((client) => client.patch('s', { metadata: EVENT.payload })),
  '`append`': plain((client) => client.session('s').append(EVENT)),
  '`appendMany`': plain((client) => client.session('s').appendMany([EVENT, EVENT])),
  '`outbox`': outbox,
  '`tail` by SSE': tail('sse', true),
  '`tail` by SSE, `follow: false`': tail('sse', false),
  '`tail` by WebSocket': tail('websocket', true),
  '`lifecycle`': lifecycle,
}

const reply =
  (status: number, body: string, headers: Record<string, string> = {}): Reply =>
  (): Response =>
    new Response(WITHOUT_BODY.includes(status) ? null : body, { status, headers })

/** What fetch makes of that; asked for once. */
function real(url: string): Reply {
  const answered = fetch(url).catch((error: Error) => error)
  return async () => {
    const response = await answered
    if (response instanceof Error) throw response
    return response.clone()
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
const HTML = '<html><title>sign in</title></html>'
const FORM = '{"error":"some_code","message":"no"}'
/** What is to be told apart: groups of statuses are put together where they come out alike. */
const BODIES: Readonly<Record<string, string>> = { 'anything else': HTML, 'the error form': FORM }

const OTHERS: Readonly<Record<string, Reply>> = {
  '200, JSON of another shape': reply(200, '{"ok":true}'),
  '200, `null`': reply(200, 'null'),
  '200, a list of sessions that has no end': reply(200, '{"sessions":[{}],"next_cursor":"s"}'),
  '200, another session': reply(200, JSON.stringify({ ...SESSION, id: 'other' })),
  '200, a page of events with a gap': reply(
    200,
    `{"events":[${FRAME.replace('1', '2')}],"next_cursor":2,"last_seq":2}`,
  ),
  '201, one result too few': reply(201, '{"results":[],"last_seq":1,"cursor":1,"committed_cursor":1}'),
  '201, a seq past `last_seq`': reply(
    201,
    '{"seq":2,"last_seq":1,"deduped":false,"cursor":2,"committed_cursor":1,"results":[{"seq":2,"deduped":false}]}',
  ),
  'an answer cut in its middle': () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode('{"seq":1,'))
          controller.error(new TypeError('terminated'))
        },
      }),
      { status: 201 },
    ),
  'no answer': () => Promise.reject(new TypeError('fetch failed')),
  'a redirect that a browser hides': () =>
    Object.defineProperties(new Response(null), { status: { value: 0 }, ok: { value: false } }),
}

describe('the client, for unexpected answers', () => {
  let unhurry: () => void
  let informational: Server
  before(async () => {
    unhurry = hurry()
    informational = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', (data) => {
        const [, status, form] = /\/(\d+)(form)?/.exec(String(data)) ?? []
        const body = form ? FORM : HTML
        socket.end(`HTTP/1.1 ${status} x\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      })
    }).listen(0, '127.0.0.1')
    await once(informational, 'listening')
  })
  after(() => {
    unhurry()
    informational.close()
  })

  /** By call, what it does. */
  async function outcomes(make: Reply, token?: string): Promise<string[]> {
    return Promise.all(Object.values(CALLS).map((call) => call(make, token)))
  }

  async function ofStatuses(statuses: readonly number[], make: (status: number) => Reply, token?: string) {
    const found: { status: number; cells: string[] }[] = []
    for (let at = 0; at < statuses.length; at += AT_A_TIME)
      found.push(
        ...(await Promise.all(
          statuses
            .slice(at, at + AT_A_TIME)
            .map(async (status) => ({ status, cells: await outcomes(make(status), token) })),
        )),
      )
    return grouped(found)
  }

  async function matrix(): Promise<Map<string, string[]>> {
    const { port } = informational.address() as { port: number }
    const rows = new Map<string, string[]>()
    for (const [what, body] of Object.entries(BODIES)) {
      const path = body === FORM ? 'form' : ''
      const make = (status: number) =>
        status < 200 ? real(`http://127.0.0.1:${port}/${status}${path}`) : reply(status, body)
      for (const [label, cells] of await ofStatuses(range(100, 599), make))
        rows.set(`${label} with ${what}`, cells)
    }
    for (const [place, location, token] of PLACES)
      for (const [label, cells] of await ofStatuses(
        REDIRECTS,
        (status) => reply(status, '', { location }),
        token,
      ))
        rows.set(`${label} ${place}`, cells)
    for (const [label, make] of Object.entries(OTHERS)) rows.set(label, await outcomes(make))
    return rows
  }

  it('is what docs/client.md says (UPDATE_DOCS=1 rewrites it)', async () => {
    const table = render(await matrix())

    const docs = await readFile(DOCS, 'utf8')
    const [from, to] = [docs.indexOf(BEGIN) + BEGIN.length, docs.indexOf(END)]
    if (process.env.UPDATE_DOCS)
      await writeFile(DOCS, `${docs.slice(0, from)}\n\n${table}\n${docs.slice(to)}`)
    else expect(docs.slice(from, to).trim()).to.equal(table.trim())
  })
})

/** Statuses that come out alike, by the text of their ranges. */
function grouped(found: readonly { status: number; cells: string[] }[]): Map<string, string[]> {
  const groups = new Map<string, { statuses: number[]; cells: string[] }>()
  for (const { status, cells } of found) {
    const key = cells.join()
    const group = groups.get(key) ?? { statuses: [], cells }
    group.statuses.push(status)
    groups.set(key, group)
  }
  return new Map([...groups.values()].map(({ statuses, cells }) => [ranges(statuses), cells]))
}

function ranges(statuses: readonly number[]): string {
  const parts: [number, number][] = []
  for (const status of statuses) {
    const last = parts.at(-1)
    if (last !== undefined && last[1] === status - 1) last[1] = status
    else parts.push([status, status])
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(', ')
}

/** Calls that do the same about everything share a column. */
function render(rows: ReadonlyMap<string, string[]>): string {
  const alike = new Map<string, { whats: string[]; cells: string[] }>()
  for (const [what, cells] of rows) {
    const row = alike.get(cells.join()) ?? { whats: [], cells }
    row.whats.push(what)
    alike.set(cells.join(), row)
  }
  const columns = new Map<string, { names: string[]; at: number }>()
  for (const [at, name] of Object.keys(CALLS).entries()) {
    const key = [...rows.values()].map((cells) => cells[at]).join()
    const column = columns.get(key) ?? { names: [], at }
    column.names.push(name)
    columns.set(key, column)
  }
  const heads = [...columns.values()]
  return [
    `| the answer | ${heads.map(({ names }) => names.join(', ')).join(' | ')} |`,
    `| --- |${' --- |'.repeat(heads.length)}`,
    ...[...alike.values()].map(
      ({ whats, cells }) => `| ${whats.join('; ')} | ${heads.map(({ at }) => cells[at]).join(' | ')} |`,
    ),
    '',
  ].join('\n')
}
