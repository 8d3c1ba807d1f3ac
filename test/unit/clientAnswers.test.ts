import { expect } from 'chai'
import fc from 'fast-check'
import { StarciteError } from '../../src/client/errors.ts'
import { memoryStore } from '../../src/client/outbox/store.ts'
import { Starcite } from '../../src/client/starcite.ts'
import { hurry } from '../support/hurry.ts'
import { ModelServer } from '../support/modelServer.ts'

const URL_OF_SERVER = 'http://x.test'
const WITHOUT_BODY = [204, 205, 304]
const LATER = [408, 425, 429, 500, 503, 599]

/** Ways in which an answer misses the contract by a little. Each leaves what no true answer can be. */
const MISSES: readonly ((answer: Answer) => unknown)[] = [
  ({ results: _, ...rest }) => rest,
  (answer) => ({ ...answer, results: answer.results.slice(1) }),
  (answer) => ({ ...answer, results: [...answer.results, { seq: answer.last_seq + 1, deduped: false }] }),
  (answer) => ({ ...answer, results: Object.fromEntries(answer.results.entries()) }),
  (answer) => ({ ...answer, results: answer.results.map(({ seq }) => ({ seq })) }),
  (answer) => ({ ...answer, results: answer.results.map(({ seq }) => seq) }),
  (answer) => ({
    ...answer,
    results: answer.results.map((result) => ({ ...result, seq: String(result.seq) })),
  }),
  (answer) => ({
    ...answer,
    results: answer.results.map((result) => ({ ...result, seq: result.seq - 0.5 })),
  }),
  (answer) => ({ ...answer, results: answer.results.map((result) => ({ ...result, seq: -result.seq })) }),
  (answer) => ({ ...answer, results: answer.results.map((result) => ({ ...result, deduped: 0 })) }),
  (answer) => ({ ...answer, results: answer.results.map((result) => ({ ...result, seq: result.seq + 1 })) }),
  (answer) => ({ ...answer, results: [...answer.results, ...answer.results.slice(-1)].reverse() }),
  (answer) => ({ ...answer, last_seq: answer.cursor - 1, committed_cursor: answer.cursor - 1 }),
  (answer) => ({ ...answer, last_seq: null }),
  (answer) => ({ ...answer, cursor: answer.cursor + 1 }),
  (answer) => ({ ...answer, committed_cursor: answer.last_seq + 1 }),
  (answer) => [answer],
  (answer) => ({ events: [answer] }),
  () => ({ events: [], next_cursor: 0, last_seq: 0 }),
  () => ({ sessions: [], next_cursor: null }),
  () => ({}),
  () => null,
]
interface Answer {
  results: { seq: number; deduped: boolean }[]
  last_seq: number
  cursor: number
  committed_cursor: number
}

type Fault = (truth: string) => Response

const respond = (status: number, text: string, headers: Record<string, string> = {}): Response =>
  new Response(WITHOUT_BODY.includes(status) ? null : text, { status, headers })

const status = fc.integer({ min: 200, max: 599 })
const anyStatus = fc.oneof(status, fc.constantFrom(200, 201, 301, 302, 303, 307, 308, 403, 413, 522))
const text = fc.oneof(fc.json(), fc.constantFrom('', '<html>sign in</html>', '[]', '{}', 'null', '"ok"'))
const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.tuple(anyStatus, text).map(
    ([code, body]) =>
      () =>
        respond(code, body),
  ),
  fc
    .tuple(fc.constantFrom(301, 302, 303, 307, 308), fc.constantFrom('/v1/sessions', 'http://y.test/', '::'))
    .map(
      ([code, location]) =>
        () =>
          respond(code, '', { location }),
    ),
  fc
    .constantFrom(...MISSES)
    .map((miss) => (truth: string) => respond(201, JSON.stringify(miss(JSON.parse(truth))))),
  fc.constantFrom(200, 202, 206, 299).map((code) => (truth: string) => respond(code, truth.slice(0, -1))),
  fc.constantFrom(202, 203, 206, 299, 300, 404, 502).map((code) => (truth: string) => respond(code, truth)),
  fc
    .constantFrom(...LATER)
    .map((code) => () => respond(code, '{"error":"later","message":"not now","retry_after_ms":1}')),
  fc.constant(() => {
    throw new TypeError('terminated')
  }),
)

describe('the client, for every answer of a server in well-formed HTTP', () => {
  let unhurry: () => void
  before(() => {
    unhurry = hurry()
  })
  after(() => unhurry())

  it('the outbox keeps each event until it is stored, and stores it once', async () => {
    const faults = fc.array(fc.record({ fault, isDone: fc.boolean() }), { maxLength: 15 })
    await fc.assert(
      fc.asyncProperty(
        faults,
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 5 }),
        async (...args) => {
          const [script, count, maxBatch] = [[...args[0]], args[1], args[2]]
          const server = new ModelServer()
          const store = memoryStore()
          const sent = Array.from({ length: count }, (_, n) => ({ type: 'content', payload: { n } }))
          const key = `starcite.outbox ${URL_OF_SERVER}/v1/sessions/s`
          const fetch = async (url: string, init: RequestInit) => {
            const { pending } = JSON.parse((await store.load(key)) ?? '{"pending":[]}')
            const kept = [
              ...server.payloads,
              ...pending.map(([event]: [string]) => JSON.parse(event).payload),
            ]
            expect(kept).to.deep.include.members(sent.slice(0, kept.length).map(({ payload }) => payload))
            expect(new Set(kept.map(({ n }) => n)).size).to.equal(count)
            const step = script.shift()
            if (url !== `${URL_OF_SERVER}/v1/sessions/s/events`) return respond(404, '<html>elsewhere</html>')
            if (step === undefined) return server.fetch(url, init)
            return step.fault(await (await (step.isDone ? server : server.clone()).fetch(url, init)).text())
          }
          const outbox = new Starcite({ url: URL_OF_SERVER, fetch }).session('s').outbox({ store, maxBatch })

          const answers = await Promise.all(sent.map((event) => outbox.send(event)))
          await outbox.close()

          const all = sent.map(({ payload }) => payload)
          expect(server.payloads).to.deep.equal(all)
          expect(answers.map(({ seq }) => seq)).to.deep.equal(all.map(({ n }) => n + 1))
          expect(JSON.parse((await store.load(key)) ?? '').pending).to.deep.equal([])
        },
      ),
      { numRuns: 150 },
    )
  })

  it('no call takes what is not its own answer for one', async () => {
    const key = { producer_id: 'p', producer_seq: 1 }
    const event = { type: 'content', payload: {} }
    const calls = (starcite: Starcite, session = starcite.session('s')): Promise<unknown>[] => [
      starcite.createSession({ id: 's' }),
      starcite.createSession(),
      session.get(),
      session.patch({ title: 'x' }),
      session.archive(),
      session.unarchive(),
      session.append(event),
      session.append({ ...event, ...key }),
      session.appendMany([event, event, event]),
      session.appendMany([1, 2, 3].map((n) => ({ ...event, ...key, producer_seq: n }))),
      starcite.listSessions().next(),
      session.history().next(),
    ]
    const truths = [
      '{"results":[{"seq":1,"deduped":false}],"last_seq":1,"cursor":1,"committed_cursor":1}',
      '{"results":[{"seq":1,"deduped":false},{"seq":2,"deduped":false},{"seq":4,"deduped":false}],"last_seq":4,"cursor":4,"committed_cursor":4}',
    ]
    await fc.assert(
      fc.asyncProperty(fault, fc.constantFrom(...truths), async (answer, truth) => {
        const fetch = async () => answer(truth)
        const outcomes = await Promise.allSettled(calls(new Starcite({ url: URL_OF_SERVER, fetch })))

        const empty = { done: true, value: undefined } // an empty page of events, or of sessions, is what it says
        for (const outcome of outcomes)
          if (outcome.status === 'rejected') expect(outcome.reason).to.be.instanceOf(StarciteError)
          else expect(outcome.value).to.deep.equal(empty)
      }),
      { numRuns: 150 },
    )
  })
})
