import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { call } from './client.ts'
import { freePort } from './node.ts'
import { makeScratch } from './scratch.ts'
import { until } from './until.ts'

const SHIPPED = new URL('../../deploy/haproxy/haproxy.cfg', import.meta.url)
/** A port of ours and loopback addresses, in place of what belongs to containers. The rest is as shipped. */
const CHANGES: readonly (readonly [what: RegExp, by: (port: number) => string])[] = [
  [/^ {2}bind :4000$/m, (port) => `  bind 127.0.0.1:${port}`],
  [/ resolvers docker$/m, () => ''],
  [/^resolvers docker\n( .*\n?)*/m, () => ''],
]

export const hasHaproxy = (): boolean => spawnSync('haproxy', ['-v']).status === 0

/** HAProxy with the configuration that the project ships, in front of nodes on these ports of this machine. */
export class Haproxy {
  readonly url: string
  readonly #process: ChildProcess
  readonly #dir: string
  #output = ''

  private constructor(port: number, child: ChildProcess, dir: string) {
    this.url = `http://127.0.0.1:${port}`
    this.#process = child
    this.#dir = dir
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk
      })
  }

  /** Resolves when it has a node to send requests to. */
  static async start(nodePorts: readonly number[]): Promise<Haproxy> {
    const port = await freePort()
    let config = await readFile(SHIPPED, 'utf8')
    for (const [what, by] of CHANGES) {
      if (!what.test(config)) throw new Error(`the shipped configuration has no ${what} any more`)
      config = config.replace(what, by(port))
    }
    nodePorts.forEach((nodePort, i) => {
      config = config.replace(
        `server node${i + 1} node${i + 1}:4000`,
        `server node${i + 1} 127.0.0.1:${nodePort}`,
      )
    })
    const dir = await makeScratch('haproxy')
    const file = path.join(dir, 'haproxy.cfg')
    await writeFile(file, config)
    const child = spawn('haproxy', ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] })
    const haproxy = new Haproxy(port, child, dir)
    await until('the load balancer has a node', async () => {
      if (child.exitCode !== null) throw new Error(`haproxy ended:\n${haproxy.#output}`)
      const answer = await call('GET', `${haproxy.url}/v1/sessions`).catch(() => undefined)
      return answer?.status === 200
    })
    return haproxy
  }

  /** How often each status was answered, by its log. Bad ones, ended by the client, have status -1. */
  get statuses(): Map<number, number> {
    const counts = new Map<number, number>()
    for (const [, text] of this.#output.matchAll(
      / [-\d]+\/[-\d]+\/[-\d]+\/[-\d]+\/[-\d]+ (-?\d+) \d+ \S+ "/g,
    ))
      counts.set(Number(text), (counts.get(Number(text)) ?? 0) + 1)
    return counts
  }

  /** What it said, without a line for each request. */
  get notes(): string {
    return this.#output
      .split('\n')
      .filter((line) => !/"$|HTTP\/|\/v1\//.test(line))
      .join('\n')
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit')
      this.#process.kill('SIGTERM')
      await ended
    }
    await rm(this.#dir, { recursive: true, force: true })
  }
}
