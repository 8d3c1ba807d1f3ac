import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './until.ts'

const ROOT = new URL('../../', import.meta.url)
const MAIN = fileURLToPath(new URL('dist/cli/main.js', ROOT))
const TSC = fileURLToPath(new URL('node_modules/typescript/bin/tsc', ROOT))

/** The command as it is shipped: it starts several times faster than its sources do. `npm test` has built it already. */
export async function buildCommand(): Promise<void> {
  if (process.env.STARCITE_TEST_BUILT) return
  const build = spawn(process.execPath, [TSC, '-p', fileURLToPath(new URL('tsconfig.build.json', ROOT))], {
    stdio: 'inherit',
  })
  const [code] = await once(build, 'close')
  if (code !== 0) throw new Error('the build failed')
}

const LIFETIME_MS = 110_000

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly input?: string
}

export interface Ended {
  readonly code: number | null
  readonly out: string
  /** Without the line that says which database it is; `err` of the Command has it. */
  readonly err: string
}

/** `starcite …`, as a child process with nothing of this one's environment. */
export class Command {
  readonly child: ChildProcessWithoutNullStreams
  readonly ended: Promise<Ended>
  out = ''
  err = ''

  constructor(args: readonly string[], { env = {}, cwd, input }: CommandOptions = {}) {
    const { PATH = '', HOME = '' } = process.env
    this.child = spawn(process.execPath, [MAIN, ...args], {
      env: { PATH, HOME, ...env },
      ...(cwd !== undefined && { cwd }),
    })
    this.child.stdout.on('data', (chunk) => {
      this.out += chunk
    })
    this.child.stderr.on('data', (chunk) => {
      this.err += chunk
    })
    this.child.stdin.on('error', () => {}) // a command that refuses its input does not read it
    if (input !== undefined) this.child.stdin.end(input)
    // However a test fails, nothing that it started outlives it for long.
    const overdue = setTimeout(() => this.child.kill('SIGKILL'), LIFETIME_MS)
    this.child.on('close', () => clearTimeout(overdue))
    this.ended = once(this.child, 'close').then(([code]) => ({
      code,
      out: this.out,
      err: this.err.replace(/^Database: .*\n/, ''),
    }))
  }

  /** Resolves when its output matches; rejects when that takes too long. */
  async says(pattern: RegExp): Promise<void> {
    await until(`output like ${pattern}`, () => pattern.test(this.out + this.err)).catch((error) => {
      throw new Error(`${error.message}; it says:\n${this.out}${this.err}`)
    })
  }

  async stop(): Promise<Ended> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM')
    return this.ended
  }
}

export const starcite = (args: readonly string[], options: CommandOptions = {}): Promise<Ended> =>
  new Command(args, { input: '', ...options }).ended

/** Whether there is a program that gives a command a terminal. */
export const hasTerminal = (): boolean =>
  process.platform === 'linux' &&
  (process.env.PATH ?? '')
    .split(path.delimiter)
    .some((directory) => existsSync(path.join(directory, 'script')))

/**
 * `starcite …` in a shell on a pseudo-terminal, which has the three streams that the words do not lead elsewhere. Answers
 * what the terminal was sent, with ␛ for the escape character; rejects when the command fails.
 */
export async function onTerminal(words: string, { env = {}, cwd }: CommandOptions): Promise<string> {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn('script', ['-q', '-e', '-c', `"$NODE" "$MAIN" ${words}`, '/dev/null'], {
    env: { PATH, HOME, SHELL: '/bin/sh', TERM: 'xterm', NODE: process.execPath, MAIN, ...env },
    ...(cwd !== undefined && { cwd }),
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: LIFETIME_MS,
  })
  let shown = ''
  child.stdout.on('data', (chunk) => {
    shown += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`starcite ${words}: exit code ${code}\n${shown}`)
  return shown.replaceAll('\x1b', '␛')
}
