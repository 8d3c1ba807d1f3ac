import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Stoppable } from '../../src/lib/stopStack.ts'

/** What a child process can be asked. Everything crosses by structured clone, so typed arrays stay cheap. */
type Handlers = Readonly<Record<string, (argument: never) => Promise<unknown>>>

interface Call {
  readonly id: number
  readonly name: string
  readonly argument: unknown
}
type Answer = { readonly id: number; readonly value?: unknown; readonly error?: string }

/** Makes this process answer its parent, until the parent is gone. */
export function answerCalls(handlers: Handlers): void {
  process.on('message', async ({ id, name, argument }: Call) => {
    const answer: Answer = await handlers[name]!(argument as never).then(
      (value) => ({ id, value }),
      (error: Error) => ({ id, error: error.stack ?? String(error) }),
    )
    process.send?.(answer)
  })
  process.on('disconnect', () => process.exit())
  // Ctrl-C reaches the whole group; the parent decides the order in which things end.
  process.on('SIGINT', () => {})
}

/** A child process of the benchmark: a server to compare with, or a generator of load. */
export class Child<H extends Handlers> implements Stoppable {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  #calls = 0

  constructor(script: URL) {
    this.#process = fork(script, { execArgv: ['--import', 'tsx'], serialization: 'advanced' })
    this.#process.on('message', ({ id, value, error }: Answer) => {
      const call = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) call?.resolve(value)
      else call?.reject(new Error(`${script.pathname.split('/').at(-1)}: ${error}`))
    })
    this.#process.once('exit', (code, signal) => {
      const gone = new Error(`${script.pathname.split('/').at(-1)} ended with ${signal ?? code}`)
      for (const call of this.#waiting.values()) call.reject(gone)
      this.#waiting.clear()
    })
  }

  get pid(): number {
    return this.#process.pid!
  }

  call<K extends keyof H & string>(
    name: K,
    argument: Parameters<H[K]>[0],
  ): Promise<Awaited<ReturnType<H[K]>>> {
    const id = ++this.#calls
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
      this.#process.send({ id, name, argument } satisfies Call, (error) => error && reject(error))
    })
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exit = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exit
  }
}
