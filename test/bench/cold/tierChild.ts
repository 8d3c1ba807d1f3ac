import { Db } from '../../../src/db/pool.ts'
import { StopStack } from '../../../src/lib/stopStack.ts'
import { PostgresStore } from '../../../src/objects/postgresStore.ts'
import { type S3Settings, S3Store } from '../../../src/objects/s3Store.ts'
import { createLog } from '../../../src/ops/log.ts'
import { Metrics } from '../../../src/ops/metrics.ts'
import type { Step } from '../../../src/tiering/step.ts'
import { type PassResult, TieringJob } from '../../../src/tiering/tieringJob.ts'
import { answerCalls } from '../calls.ts'

export interface TierTarget {
  readonly url: string
  /** Without one, objects go to a table. */
  readonly s3?: S3Settings
}

export interface Moved {
  readonly events: number
  readonly objects: number
  readonly bytes: number
}

/** Milliseconds since the epoch. */
export type StepTimes = Partial<Record<Step, number>>

/** A pass of the tiering job in this process, as `npm run tier` makes it. */
class Pass {
  readonly #stack = new StopStack()
  readonly #job: TieringJob
  readonly #result: Promise<PassResult>
  readonly times: StepTimes = {}
  /** Resolves when all is copied; the pass goes on when `release` is called, or at once when it is not to be held. */
  readonly copied: Promise<void>
  release: () => void = () => {}
  running = true
  read = 0

  constructor({ url, s3 }: TierTarget, held: boolean) {
    const log = createLog('warn')
    const db = this.#stack.add(
      'database',
      new Db({
        url,
        size: 4,
        applicationName: 'bench',
        timeoutMs: 30_000,
        preparedStatements: true,
        log,
      }),
    )
    const store = this.#stack.add('store', s3 === undefined ? new PostgresStore(db) : new S3Store(s3))
    const hold = held ? new Promise<void>((resolve) => (this.release = resolve)) : undefined
    let isCopied = () => {}
    this.copied = new Promise((resolve) => (isCopied = resolve))
    this.#job = new TieringJob({
      url,
      connectTimeoutMs: 5000,
      store,
      intervalMs: 1000,
      retentionGraceMs: 0,
      log,
      metrics: new Metrics(),
      onProgress: ({ read }) => {
        this.read = read
      },
      probe: async (step) => {
        if (step === 'copied') {
          isCopied()
          await hold
        }
        this.times[step] = performance.timeOrigin + performance.now()
      },
    })
    this.#result = this.#job.pass().finally(() => {
      this.running = false
    })
    this.#result.catch(() => {}) // reported where the result is awaited
  }

  async end(): Promise<Moved> {
    try {
      const result = await this.#result
      if (!result.ran) throw new Error('another job has the lock')
      const sum = (of: 'events' | 'objects' | 'bytes') =>
        result.moved.reduce((all, segment) => all + segment[of], 0)
      return { events: sum('events'), objects: sum('objects'), bytes: sum('bytes') }
    } finally {
      await this.#stack.stop()
    }
  }

  /** What was copied stays copied. */
  async cut(): Promise<void> {
    await this.#job.stop()
    await this.#result.catch(() => {})
    await this.#stack.stop()
  }
}

let pass: Pass | undefined
const handlers = {
  /** Moves all that is due. */
  move: (target: TierTarget) => new Pass(target, false).end(),
  /** Begins to. */
  start: async (target: TierTarget) => {
    pass = new Pass(target, false)
  },
  /** Events read by that pass, and whether it goes on. */
  progress: async () => ({ read: pass!.read, running: pass!.running }),
  cut: () => pass!.cut(),
  /** Copies all that is due, one segment, and stops short of taking it away. */
  copy: (target: TierTarget) => {
    pass = new Pass(target, true)
    return Promise.race([pass.copied, pass.end().then(() => {})])
  },
  /** Takes it away, and answers when each step was done. */
  takeAway: async () => {
    const { release, times } = pass!
    release()
    await pass!.end()
    return times
  },
}
export type TierHandlers = typeof handlers

answerCalls(handlers)
