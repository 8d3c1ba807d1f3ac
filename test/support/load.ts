import { faultsOfLog } from './chain.ts'
import { ChaosWriter } from './chaosWriter.ts'
import { call } from './client.ts'
import { ResumingTail } from './resumingTail.ts'
import { storedEvents, unaccounted } from './storedEvents.ts'
import { connect } from './template.ts'
import { until } from './until.ts'

const SESSIONS = ['a', 'b', 'c', 'd']
const WRITERS = 3

/** Writers, and a tail on each of the sessions `a` to `d`, spread over the nodes, until it is stopped or ended. */
export async function underLoad(...nodes: readonly { url: string }[]) {
  const urls = nodes.map(({ url }) => url)
  for (const id of SESSIONS) await call('POST', `${urls[0]}/v1/sessions`, { id })
  const tails = SESSIONS.map((id, i) => new ResumingTail(() => urls[i % urls.length] as string, id))
  let over = false
  const writers = Array.from(
    { length: WRITERS },
    (_, i) =>
      new ChaosWriter({
        name: `w${i}`,
        nodes: urls,
        sessions: SESSIONS,
        until: () => over,
        pauseMs: 10,
      }),
  )
  const writing = Promise.all(writers.map((writer) => writer.run()))
  const acknowledged = () =>
    writers.flatMap(({ sent }) => sent).filter(({ fate }) => fate === 'acknowledged').length
  return {
    tails,
    /** Twenty more appends are acknowledged. */
    progress: async (what: string, timeoutMs?: number) => {
      const before = acknowledged()
      await until(what, () => acknowledged() > before + 20, timeoutMs)
    },
    slowestMs: () => Math.max(...writers.map(({ slowestMs }) => slowestMs)),
    answers: (kind: number | 'cut') =>
      writers.reduce((sum, { answers }) => sum + (answers.get(kind) ?? 0), 0),
    /** Waits for the tails, and tells everything that breaks I1 to I5. */
    stop: async (database: { url: string }): Promise<string[]> => {
      over = true
      await writing
      const db = await connect(database)
      const stored = await storedEvents(db)
      const faults = unaccounted(
        writers.flatMap(({ sent }) => sent),
        stored,
      )
      for (const id of SESSIONS) faults.push(...(await faultsOfLog(db, id)))
      await db.end()
      await until('the tails have it all', () =>
        tails.every((tail, i) => tail.cursor >= (stored.get(SESSIONS[i] as string)?.length ?? 0)),
      )
      for (const [i, tail] of tails.entries()) {
        const ids = stored.get(SESSIONS[i] as string)?.map(({ id }) => id)
        if (String(tail.events.map((event) => JSON.parse(event).payload.id)) !== String(ids))
          faults.push(`the tail of ${SESSIONS[i]} saw something else`)
        faults.push(...tail.faults)
        tail.stop()
      }
      return [...faults, ...writers.flatMap((writer) => writer.faults)]
    },
    /** Runs after the test, passed or failed. */
    end: () => {
      over = true
      for (const tail of tails) tail.stop()
      return writing
    },
  }
}
