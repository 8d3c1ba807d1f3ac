import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import pg from 'pg'
import { freePort } from './node.ts'
import { makeScratch } from './scratch.ts'
import { until } from './until.ts'

export const hasPgbouncer = (): boolean => spawnSync('pgbouncer', ['--version']).status === 0

/** It does not run as root. */
const ACCOUNT = 'nobody'

/** The real one, in transaction mode unless the settings say otherwise, in front of the server of `url`. */
export class PgBouncer {
  readonly port: number
  readonly #process: ChildProcess
  readonly #dir: string

  private constructor(port: number, child: ChildProcess, dir: string) {
    this.port = port
    this.#process = child
    this.#dir = dir
  }

  /** `logins` have their passwords with them. */
  static async start(
    url: string,
    logins: Readonly<Record<string, string>>,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<PgBouncer> {
    const port = await freePort()
    const server = new URL(url)
    const dir = await makeScratch('pgbouncer')
    await chmod(dir, 0o755)
    const users = path.join(dir, 'users.txt')
    await writeFile(
      users,
      Object.entries(logins)
        .map(([name, password]) => `"${name}" "${password}"\n`)
        .join(''),
    )
    const all = {
      listen_addr: '127.0.0.1',
      listen_port: String(port),
      unix_socket_dir: '',
      auth_type: 'trust',
      auth_file: users,
      pool_mode: 'transaction',
      default_pool_size: '2',
      ...settings,
    }
    const file = path.join(dir, 'pgbouncer.ini')
    await writeFile(
      file,
      `[databases]\n* = host=${server.hostname} port=${server.port}\n[pgbouncer]\n${Object.entries(all)
        .map(([name, value]) => `${name} = ${value}\n`)
        .join('')}`,
    )
    for (const path of [users, file]) await chmod(path, 0o644)
    const isRoot = process.getuid?.() === 0
    const child = spawn('pgbouncer', [...(isRoot ? ['-u', ACCOUNT] : []), file], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        output += chunk
      })
    const bouncer = new PgBouncer(port, child, dir)
    await until('the pooler answers', async () => {
      if (child.exitCode !== null) throw new Error(`pgbouncer ended:\n${output}`)
      const client = new pg.Client({ connectionString: bouncer.through(url) })
      return client
        .connect()
        .then(() => client.end())
        .then(
          () => true,
          (error) => {
            output += `${error.message}\n`
            return false
          },
        )
    })
    return bouncer
  }

  /** The same database, user and password, by way of the pooler. */
  through(url: string): string {
    const its = new URL(url)
    its.host = `127.0.0.1:${this.port}`
    return its.href
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit')
      this.#process.kill('SIGKILL')
      await ended
    }
    await rm(this.#dir, { recursive: true, force: true })
  }
}
