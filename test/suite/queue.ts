import type { FileRun } from './messages.ts'
import { TestWorker } from './testWorker.ts'

export interface QueueOptions {
  readonly workers: number
  /** The module that a worker process runs. */
  readonly worker: string
  moduleOf(file: string): string
  readonly env: Readonly<Record<string, string>>
}

/** Each worker takes the next file when it is done with one. The output of a file is printed in one piece. */
export async function runQueue(files: readonly string[], options: QueueOptions): Promise<FileRun[]> {
  const waiting = [...files]
  const runs: FileRun[] = []
  const workers = Array.from({ length: options.workers }, () => new TestWorker(options.worker, options.env))
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      waiting.length = 0
      for (const worker of workers) worker.kill(signal)
    })
  const take = async (worker: TestWorker) => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const run = await worker.run(file, options.moduleOf(file))
      process.stdout.write(run.output)
      runs.push(run)
    }
    const left = await worker.end()
    if (left !== undefined) runs.push(left)
  }
  await Promise.all(workers.map(take))
  return runs
}
