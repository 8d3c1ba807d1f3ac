import { generateKeyPairSync } from 'node:crypto'
import type { CheckpointStep } from '../../../src/audit/checkpoints/checkpointer.ts'
import { CheckpointJob } from '../../../src/audit/checkpoints/checkpointJob.ts'
import { localSigner } from '../../../src/audit/checkpoints/signer.ts'
import { Db } from '../../../src/db/pool.ts'
import { StopStack } from '../../../src/lib/stopStack.ts'
import { PostgresStore } from '../../../src/objects/postgresStore.ts'
import { createLog } from '../../../src/ops/log.ts'
import { Metrics } from '../../../src/ops/metrics.ts'
import { answerCalls } from '../calls.ts'

export interface CheckpointsTaken {
  readonly leaves: number
  readonly ms: number
}

const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const signer = localSigner(pem)

/** A pass of the job in this process, as `starcite audit checkpoints take` makes it. */
class Pass {
  readonly #stack = new StopStack()
  readonly #job: CheckpointJob
  readonly #started = performance.now()
  readonly #result: Promise<CheckpointsTaken>
  readonly #steps = new Map<CheckpointStep, () => void>()
  running = true

  constructor(url: string) {
    const log = createLog('warn')
    const options = { size: 2, applicationName: 'bench', timeoutMs: 30_000, preparedStatements: true, log }
    const db = this.#stack.add('database', new Db({ ...options, url }))
    this.#job = new CheckpointJob({
      url,
      connectTimeoutMs: 5000,
      store: this.#stack.add('store', new PostgresStore(db)),
      signer,
      intervalMs: 1000,
      log,
      metrics: new Metrics(),
      probe: (step) => this.#steps.get(step)?.(),
    })
    this.#result = this.#run().finally(() => {
      this.running = false
    })
    this.#result.catch(() => {}) // reported where the result is awaited
  }

  async #run(): Promise<CheckpointsTaken> {
    const result = await this.#job.pass()
    if (!result.ran) throw new Error(`no checkpoint was taken: ${result.why}`)
    const leaves = result.taken.reduce((sum, checkpoint) => sum + checkpoint.leaves, 0)
    return { leaves, ms: performance.now() - this.#started }
  }

  /** To be called before the step is done; rejects when the pass ends before it. */
  async after(step: CheckpointStep): Promise<void> {
    await Promise.race([new Promise<void>((resolve) => this.#steps.set(step, resolve)), this.#result])
    if (!this.running) throw new Error(`the checkpoint was taken before ${step}`)
  }

  async end(): Promise<CheckpointsTaken> {
    try {
      return await this.#result
    } finally {
      await this.#stack.stop()
    }
  }

  async cut(): Promise<void> {
    await this.#job.stop()
    await this.#result.catch(() => {})
    await this.#stack.stop()
  }
}

let pass: Pass | undefined
const handlers = {
  take: (url: string) => new Pass(url).end(),
  /** Begins to; answers when it has come to behind a step. */
  start: async ({ url, step }: { url: string; step: CheckpointStep | undefined }) => {
    pass = new Pass(url)
    if (step !== undefined) await pass.after(step)
  },
  running: async () => pass!.running,
  cut: () => pass!.cut(),
}
export type CheckpointHandlers = typeof handlers

answerCalls(handlers)
