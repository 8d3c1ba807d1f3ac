import { loadConfig } from '../config.ts'

/** Orchestrators give up after a few seconds themselves; this tells them why. */
const TIMEOUT_MS = 4000

const USAGE = `node dist/cli/healthcheck.js [live|ready]: asks the node of the same environment variables for its health.

Exit code 0 when it is well; 1 when not, or when nobody answers; 2 when the command or the configuration is wrong. For
the health checks of containers, which have no curl.
`

async function check(what: 'live' | 'ready'): Promise<void> {
  const { host = '127.0.0.1', port, opsPort } = loadConfig(process.env)
  const name = host.includes(':') ? `[${host}]` : host
  const url = `http://${name}:${opsPort ?? port}/health/${what}`
  const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  process.stdout.write(`${await answer.text()}\n`)
  process.exitCode = answer.ok ? 0 : 1
}

const [what = 'live'] = process.argv.slice(2)
if (what === 'live' || what === 'ready')
  check(what).catch((error: unknown) => {
    const { message, name, cause } = error as Error
    process.stderr.write(`starcite healthcheck: ${(cause as Error | undefined)?.message ?? message}\n`)
    process.exitCode = name === 'ConfigError' ? 2 : 1
  })
else {
  process.stderr.write(USAGE)
  process.exitCode = 2
}
