import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { freePort } from './node.ts'
import { makeScratch } from './scratch.ts'
import { until } from './until.ts'

export const hasNginx = (): boolean => spawnSync('nginx', ['-v']).status === 0

/** An nginx in front of a node, as it comes but for the bound on bodies. It can be made to answer by itself. */
export class Nginx {
  readonly url: string
  readonly #process: ChildProcess
  readonly #dir: string
  readonly #statuses: readonly number[]

  private constructor(port: number, child: ChildProcess, dir: string, statuses: readonly number[]) {
    this.url = `http://127.0.0.1:${port}`
    this.#process = child
    this.#dir = dir
    this.#statuses = statuses
  }

  /** `statuses` are those that it may be made to answer. */
  static async start(
    target: string,
    options: { maxBodySize: string; statuses?: readonly number[] },
  ): Promise<Nginx> {
    const { maxBodySize, statuses = [] } = options
    const port = await freePort()
    const dir = await makeScratch('nginx')
    await mkdir(path.join(dir, 'logs'))
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${dir}/${kind};`)
      .join('\n  ')
    const answers = statuses
      .map((status) => `if (-f ${dir}/${status}) { return ${status}; }`)
      .join('\n      ')
    const config = `daemon off;
master_process off;
pid ${dir}/nginx.pid;
error_log stderr warn;
events {}
http {
  access_log off;
  ${temporary}
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:${port};
    client_max_body_size ${maxBodySize};
    location / {
      ${answers}
      proxy_pass ${target};
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }
  }
}
`
    const file = path.join(dir, 'nginx.conf')
    await writeFile(file, config)
    const child = spawn('nginx', ['-p', dir, '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
    let output = ''
    child.stderr?.on('data', (chunk) => {
      output += chunk
    })
    const nginx = new Nginx(port, child, dir, statuses)
    await until('nginx passes requests on', async () => {
      if (child.exitCode !== null) throw new Error(`nginx ended:\n${output}`)
      const answer = await fetch(`${nginx.url}/health/live`).catch(() => undefined)
      return answer?.status === 200
    })
    return nginx
  }

  /** Answers every new request so from now on; undefined: passes them on again. */
  async answer(status: number | undefined): Promise<void> {
    const fileOf = (status: number) => path.join(this.#dir, String(status))
    if (status !== undefined) await writeFile(fileOf(status), '') // first: no request passes between two statuses
    for (const other of this.#statuses) if (other !== status) await rm(fileOf(other), { force: true })
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
