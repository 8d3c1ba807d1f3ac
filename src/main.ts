import { readFileSync } from 'node:fs'
import { KeyError } from './audit/checkpoints/signer.ts'
import { ConfigError, loadConfig, unknownSettings } from './config.ts'
import { DatabaseStartError } from './db/database.ts'
import { EmbeddedPostgresError } from './db/embedded/error.ts'
import { DamagedSchemaError, InstallationConflictError } from './db/install.ts'
import { SchemaTooNewError, ServerTooOldError } from './db/migrate.ts'
import { createLog } from './ops/log.ts'
import { Metrics } from './ops/metrics.ts'
import { type Service, startService } from './service.ts'

/** How a node ends; docs/operations.md lists them. */
const EXIT = { ok: 0, fault: 1, config: 2, port: 3, database: 4, schema: 5 } as const

/** After the grace time, for what Postgres or a disk still holds up. */
const LAST_MS = 1000

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}

async function main(): Promise<void> {
  const config = loadConfig(process.env)
  const log = createLog(config.logLevel)
  for (const { name, near } of unknownSettings(process.env))
    log.warn(
      { name, ...(near && { didYouMean: near }) },
      'a setting has no effect: there is none of that name',
    )
  // A promise that nobody waits for and that rejects comes here too: what state the process is in is unknown then.
  process.on('uncaughtException', (error, origin) => {
    log.fatal({ err: error, origin }, 'an uncaught error')
    process.exit(EXIT.fault)
  })

  const givingUp = new AbortController()
  const metrics = new Metrics()
  metrics.measureProcess()
  const starting = startService(config, version, log, givingUp.signal, metrics)
  let stopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(EXIT.fault) // asked twice: at once
    stopping = true
    log.info({ signal }, 'draining')
    givingUp.abort()
    setTimeout(
      () => {
        log.error('the grace time is over')
        process.exit(EXIT.fault)
      },
      config.drainDelayMs + config.shutdownGraceMs + LAST_MS,
    )
    starting
      .then(
        (service) => service.stop(),
        () => {}, // it was not ready yet, and what had started is stopped
      )
      .then(
        () => process.exit(EXIT.ok),
        (error) => {
          log.error({ err: error }, 'not everything stopped cleanly')
          process.exit(EXIT.fault)
        },
      )
  }
  process.on('SIGTERM', stop).on('SIGINT', stop)

  const service = await starting.catch((error) => {
    if (!stopping) throw error
  })
  if (service === undefined) return
  log.info({ url: service.url, version }, 'ready')
  if (service.embeddedDir !== undefined) process.stdout.write(welcome(service))
}

function welcome({ url, embeddedDir }: Service): string {
  return `
  Starcite ${version} is ready.

    API    ${url}/v1
    Data   ${embeddedDir}  (embedded Postgres; set DATABASE_URL to use your own)

  Try it, in another terminal:

    curl -s ${url}/v1/sessions -H 'content-type: application/json' -d '{"id":"ses_demo"}'
    curl -s ${url}/v1/sessions/ses_demo/append -H 'content-type: application/json' \\
      -d '{"type":"content","payload":{"text":"hello"}}'
    curl -s ${url}/v1/sessions/ses_demo/events

`
}

function explain(error: unknown): { exit: number; message: string } {
  const { message } = error as Error
  if (error instanceof ConfigError || error instanceof KeyError) return { exit: EXIT.config, message }
  if (error instanceof DatabaseStartError || error instanceof EmbeddedPostgresError)
    return { exit: EXIT.database, message }
  if (
    error instanceof SchemaTooNewError ||
    error instanceof ServerTooOldError ||
    error instanceof InstallationConflictError ||
    error instanceof DamagedSchemaError
  )
    return { exit: EXIT.schema, message }
  const { code, syscall, port } = error as NodeJS.ErrnoException & { port?: number }
  if (syscall === 'listen' && code === 'EADDRINUSE')
    return {
      exit: EXIT.port,
      message: `port ${port} is taken by another process; set PORT, or STARCITE_OPS_PORT, to another one`,
    }
  if (syscall === 'listen') return { exit: EXIT.port, message: `cannot listen: ${message}` }
  return { exit: EXIT.fault, message: (error as Error).stack ?? String(error) }
}

main().catch((error: unknown) => {
  const { exit, message } = explain(error)
  process.stderr.write(`starcite: ${message}\n`)
  process.exit(exit)
})
