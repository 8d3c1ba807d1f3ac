import { expect } from 'chai'
import { ANYONE } from '../../src/auth/principal.ts'
import type { Db } from '../../src/db/pool.ts'
import type { Services } from '../../src/http/context.ts'
import type { TailRequest } from '../../src/http/parseTails.ts'
import type { EventStream } from '../../src/http/transports/eventStream.ts'
import type { Member } from '../../src/http/transports/phoenix/topic.ts'
import { createTopics } from '../../src/http/transports/phoenix/topics.ts'
import { TailsStream } from '../../src/http/transports/tailsStream.ts'
import { FairTurns } from '../../src/lib/fairTurns.ts'
import type { AppError } from '../../src/protocol/errors.ts'
import { Cursors } from '../../src/tail/cursors.ts'
import { TailQuota } from '../../src/tail/quota.ts'

describe('turns of joins', () => {
  it('are not held by a join that waits for cold storage', async () => {
    let asked = () => {}
    const isCold = new Promise<void>((resolve) => {
      asked = resolve
    })
    const cold = {
      coldUntil: async () => 5,
      sliceAt: () => {
        asked()
        return new Promise<never>(() => {})
      },
      prefetch() {},
    }
    const noRows = { query: async () => [] } as unknown as Db
    const topics = createTopics({
      config: { database: { timeoutMs: 100 } },
      joins: new FairTurns(1),
      sessions: { get: async () => ({ sid: '1', lastSeq: 5, epoch: 0 }) },
      cursors: new Cursors(noRows, cold),
      tailQuota: new TailQuota(10),
    } as unknown as Services)
    const member = {
      principal: ANYONE,
      tokenEnded: false,
      connection: {},
      signal: new AbortController().signal,
    } as unknown as Member
    const join = topics('tail:ses_1')

    void join?.({ cursor: 3, cursor_inserted_at: '2026-01-01T00:00:00.000000Z' }, member)
    await isCold

    expect(await join?.({}, { ...member, connection: {} })).to.have.property('run')
  })

  it('are waited for no longer by a tail of an event stream than by a join: then it is refused', async () => {
    const joins = new FairTurns(1)
    await joins.take('another', new AbortController().signal)
    const told: string[] = []
    const stream = { signal: new AbortController().signal, tell: (json: string) => told.push(json) }
    const tails = new TailsStream({
      services: { config: { database: { timeoutMs: 20 } }, joins } as unknown as Services,
      principal: ANYONE,
      stream: stream as unknown as EventStream,
      toAppError: (error) => error as AppError,
    })

    await tails.run([{ sessionId: 'ses_1', cursor: 0 } as TailRequest])

    expect(told.map((text) => JSON.parse(text))).to.deep.equal([
      {
        session_id: 'ses_1',
        error: 'overloaded',
        message: 'the join waited too long in the queue; join again later',
        retry_after_ms: 1000,
      },
    ])
  })
})
