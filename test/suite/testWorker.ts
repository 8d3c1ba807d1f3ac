import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { testS3 } from '../support/s3.ts'
import { type FileResult, type FileRun, type Order, RESULT } from './messages.ts'

/** Several times what the longest file takes. A test that leaves something running would keep its worker for ever. */
const FILE_TIMEOUT_MS = 10 * 60_000

/** A process that runs one file after the other, and is replaced by a new one when it ends too early. */
export class TestWorker {
  readonly #module: string
  readonly #env: Readonly<Record<string, string>>
  #child: ChildProcess | undefined
  #output = ''

  constructor(module: string, env: Readonly<Record<string, string>>) {
    this.#module = module
    this.#env = env
  }

  async run(file: string, module: string): Promise<FileRun> {
    const child = this.#started()
    const overdue = setTimeout(() => {
      this.#output += `\n  1 failing\n\n  ended after ${FILE_TIMEOUT_MS / 60_000} minutes\n`
      child.kill('SIGKILL')
    }, FILE_TIMEOUT_MS)
    this.#order({ run: file, module })
    const result = await this.#result(child)
    clearTimeout(overdue)
    const output = this.#output
    this.#output = ''
    if (result !== undefined) return { file, output, result }
    this.#child = undefined
    return { file, output: `${output}\n  1 failing\n\n  the process ended before its tests\n`, result }
  }

  /** Lets it close what its tests shared. Answers a failed run when it does not end in order. */
  async end(): Promise<FileRun | undefined> {
    const child = this.#child
    if (child === undefined) return undefined
    const closed = once(child, 'close')
    this.#order({ end: true })
    const [code] = await closed
    return code === 0 ? undefined : { file: 'the end of a worker', output: this.#output, result: undefined }
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  #order(order: Order): void {
    this.#child?.send(order)
  }

  #started(): ChildProcess {
    if (this.#child !== undefined) return this.#child
    const child = fork(this.#module, {
      env: { ...process.env, ...this.#env },
      execArgv: ['--enable-source-maps'],
      silent: true,
    })
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk
        child.emit('output')
      })
    child.on('message', () => {
      void testS3().then(
        (settings) => child.send({ s3: settings }),
        (error) => child.send({ s3Failed: String(error) }),
      )
    })
    this.#child = child
    return child
  }

  /** Takes the line of the result out of the output; undefined when the process has ended without one. */
  #result(child: ChildProcess): Promise<FileResult | undefined> {
    return new Promise((resolve) => {
      const done = (result: FileResult | undefined) => {
        child.off('output', look)
        child.off('close', gone)
        resolve(result)
      }
      const gone = () => done(undefined)
      const look = () => {
        const at = this.#output.indexOf(RESULT)
        const end = this.#output.indexOf('\n', at)
        if (at === -1 || end === -1) return
        const line = this.#output.slice(at + RESULT.length, end)
        this.#output = this.#output.slice(0, at) + this.#output.slice(end + 1)
        done(JSON.parse(line))
      }
      child.on('output', look)
      child.once('close', gone)
    })
  }
}
