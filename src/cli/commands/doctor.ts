import { Command } from 'commander'
import { loadConfig } from '../../config.ts'
import { type Database, openDatabase } from '../../db/database.ts'
import { createLog } from '../../ops/log.ts'
import { type Checks, type Finding, failed, ok } from '../doctor/check.ts'
import { checkMoves } from '../doctor/moves.ts'
import { checkNode } from '../doctor/node.ts'
import { checkPostgres } from '../doctor/postgres.ts'
import { checkStore } from '../doctor/store.ts'
import { EXIT, type SetExitCode } from '../exit.ts'
import { out, painter } from '../terminal.ts'

interface Options {
  readonly url?: string
  readonly token?: string
  readonly json?: true
}

export function doctorCommand(setExitCode: SetExitCode): Command {
  return new Command('doctor')
    .description(
      'Look whether everything that a node needs is there and works, and say what to do where not.',
    )
    .option('--url <url>', 'look at a running node too')
    .option('--token <jwt>', 'for that node (STARCITE_TOKEN)')
    .option('--json', 'one JSON object a finding, one a line')
    .addHelpText(
      'after',
      `
With the environment of a node: Postgres (reachable, version, durability, clock, connections, pooler, LISTEN from end to
end, schema and rights) and cold storage (a probe object is put, read and deleted). Without DATABASE_URL the embedded
Postgres is started for it. Exit code 1 when something failed; warnings alone leave it at 0.`,
    )
    .action(async ({ json, ...target }: Options) => {
      let worst = 0
      const show = json ? (it: Finding) => `${JSON.stringify(it)}\n` : lines()
      for await (const finding of examine(target)) {
        if (finding.result === 'failed') worst = EXIT.failed
        out(show(finding))
      }
      setExitCode(worst)
    })
}

async function* examine({ url, token = process.env.STARCITE_TOKEN }: Omit<Options, 'json'>): Checks {
  let config: ReturnType<typeof loadConfig>
  try {
    config = loadConfig(process.env)
    yield ok('configuration', 'a node would start with it')
  } catch (error) {
    yield failed(
      'configuration',
      error,
      'docs/configuration.md has every variable; `starcite check-config` shows them.',
    )
    return
  }
  let database: Database | undefined
  try {
    database = await openDatabase(config.database, 1, createLog('error'))
    let hasSchema = false
    const poolUrl = config.database.url ?? database.directUrl
    for await (const finding of checkPostgres(poolUrl, database.directUrl, config.database.poolSize + 2)) {
      if (finding.name === 'schema') hasSchema = finding.message.startsWith('up to date')
      yield finding
    }
    if (hasSchema) yield* checkMoves(database.tieringUrl, config.database.timeoutMs)
    yield* checkStore(config.archive, database.moves, hasSchema)
  } catch (error) {
    yield failed('postgres', error, 'docs/operations.md, "Starting", says more.')
  } finally {
    await database?.stop()
  }
  if (url !== undefined) yield* checkNode({ url, ...(token && { token }) })
}

const MARKS = {
  ok: ['green', '✓'],
  warning: ['yellow', '!'],
  failed: ['red', '✗'],
  skipped: ['dim', '-'],
} as const

function lines(): (finding: Finding) => string {
  const paint = painter(process.stdout)
  return ({ name, result, message, hint }) => {
    const [style, mark] = MARKS[result]
    const advice = hint === undefined ? '' : `\n                  ${hint}`
    return `${paint(style, mark)} ${name.padEnd(15)} ${message}${advice}\n`
  }
}
