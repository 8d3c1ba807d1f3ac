import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { loadConfig } from '../../src/config.ts'
import { createLog, type Log } from '../../src/ops/log.ts'
import { type Service, startService } from '../../src/service.ts'
import { programOf } from './programs.ts'

export type Settings = Readonly<Record<string, string>>

/** Fast to stop, and patient with Postgres on a loaded machine; tests say what else they need. */
const TEST_SETTINGS: Settings = {
  PORT: '0',
  STARCITE_HOST: '127.0.0.1',
  STARCITE_DRAIN_SPREAD: '0s',
  STARCITE_STORAGE_TIMEOUT: '60s',
}

/** A node inside this process. It starts fast, for tests that do not kill it. */
export function startNode(
  database: { url: string },
  settings: Settings = {},
  log: Log = createLog(process.env.STARCITE_TEST_LOG_LEVEL ?? 'silent'),
): Promise<Service> {
  const config = loadConfig({ ...TEST_SETTINGS, DATABASE_URL: database.url, ...settings })
  return startService(config, '0.0.0-test', log)
}

export interface NodeProcess {
  readonly url: string
  readonly child: ChildProcess
  /** Everything it wrote so far, both streams. */
  readonly output: () => string
  kill(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

const PROGRAM = programOf('src/main.ts')

export interface ProgramOptions {
  /** It may have no more file descriptors than that. */
  readonly maxFiles?: number
  /** The words after `node`: of another build. */
  readonly program?: readonly string[]
}

/** Runs the program as an operator would; what it does is up to the caller. */
export function runProgram(
  settings: Settings,
  { maxFiles, program = PROGRAM }: ProgramOptions = {},
): { child: ChildProcess; output: () => string } {
  const { PATH, HOME, TMPDIR } = process.env
  const limited = maxFiles === undefined ? [] : ['sh', '-c', `ulimit -n ${maxFiles}; exec "$@"`, 'sh']
  const [command = '', ...words] = [...limited, process.execPath, ...program]
  const child = spawn(command, words, {
    env: {
      ...(PATH && { PATH }),
      ...(HOME && { HOME }),
      ...(TMPDIR && { TMPDIR }),
      ...TEST_SETTINGS,
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      output += chunk
    })
  return { child, output: () => output }
}

/** A node in a process of its own, ready. */
export async function spawnNode(
  database: { url: string },
  settings: Settings = {},
  options: ProgramOptions = {},
): Promise<NodeProcess> {
  const port = settings.PORT ?? String(await freePort())
  const { child, output } = runProgram({ DATABASE_URL: database.url, PORT: port, ...settings }, options)
  const url = `http://127.0.0.1:${port}`
  const opsUrl = `http://127.0.0.1:${settings.STARCITE_OPS_PORT ?? port}`
  while (!(await isReady(opsUrl))) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the node ended while starting:\n${output()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    url,
    child,
    output,
    kill: async (signal) => {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit')
        child.kill(signal)
        await ended
      }
      return { code: child.exitCode, signal: child.signalCode }
    },
  }
}

async function isReady(url: string): Promise<boolean> {
  return fetch(`${url}/health/ready`).then(
    (response) => response.ok,
    () => false,
  )
}

/** A port that no process listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
