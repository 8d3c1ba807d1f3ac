import { loadConfig, unknownSettings } from '../config.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import { type Service, startService } from '../service.ts'
import { EXIT, exitCodeOf, explainListenError } from './exit.ts'
import { version } from './version.ts'

/** Time past the grace time for Postgres or a disk that still holds something up. */
const LAST_MS = 1000

/**
 * Runs a node as this process. Resolves when it is ready; SIGTERM and SIGINT drain it and end the process. Rejects when the
 * node does not start.
 */
export async function runNode(): Promise<void> {
  const config = loadConfig(process.env)
  const log = createLog(config.logLevel)
  for (const { name, near } of unknownSettings(process.env))
    log.warn({ name, ...(near && { didYouMean: near }) }, 'unknown setting: it has no effect')
  // An unhandled rejection comes here too. The state of the process is unknown after either.
  process.on('uncaughtException', (error, origin) => {
    log.fatal({ err: error, origin }, 'uncaught error: the process ends')
    process.exit(EXIT.failed)
  })

  const givingUp = new AbortController()
  const metrics = new Metrics()
  metrics.measureProcess()
  const starting = startService(config, version, log, givingUp.signal, metrics)
  let stopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(EXIT.failed) // a second signal ends the process at once
    stopping = true
    log.info({ signal }, 'draining')
    givingUp.abort()
    setTimeout(
      () => {
        log.error('shutdown grace time exceeded: the process ends')
        process.exit(EXIT.failed)
      },
      config.drainDelayMs + config.shutdownGraceMs + LAST_MS,
    )
    starting
      .then(
        (service) => service.stop(),
        () => {}, // the node was not ready yet, and has stopped what it had started
      )
      .then(
        () => process.exit(EXIT.ok),
        (error) => {
          log.error({ err: error }, 'shutdown failed: a part did not stop cleanly')
          process.exit(EXIT.failed)
        },
      )
  }
  process.on('SIGTERM', stop).on('SIGINT', stop)

  const service = await starting.catch((error) => {
    if (!stopping) throw startError(error)
  })
  if (service === undefined) return
  log.info({ url: service.url, version }, 'ready')
  if (service.embeddedDir !== undefined) process.stdout.write(welcome(service))
}

/** The error of a start for its reader: an error that no setting mends is a fault of the program, and shows its stack. */
function startError(error: unknown): unknown {
  const explained = explainListenError(error, 'PORT, or STARCITE_OPS_PORT')
  if (exitCodeOf(explained) !== EXIT.failed) return explained
  return new Error((error as Error).stack ?? String(error), { cause: error })
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
