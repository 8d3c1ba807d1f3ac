import { execFile } from 'node:child_process'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { promisify } from 'node:util'
import { query } from './lab.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory_gb: number
  readonly node: string
  readonly postgres: string
  readonly commit: string
  readonly date: string
}

export async function describeMachine(databaseUrl: string): Promise<Machine> {
  const [version] = await query(databaseUrl, `select current_setting('server_version') as words`)
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory_gb: Math.round(totalmem() / 1024 ** 3),
    node: process.version,
    postgres: String(version?.words),
    commit: await git('describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'),
    date: new Date().toISOString(),
  }
}

const run = promisify(execFile)

/** A copy without its history can be measured too. */
async function git(...args: string[]): Promise<string> {
  return run('git', args, { cwd: import.meta.dirname }).then(
    ({ stdout }) => stdout.trim(),
    () => 'unknown',
  )
}
