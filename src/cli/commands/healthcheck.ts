import { Argument, Command } from 'commander'
import { loadConfig } from '../../config.ts'
import { EXIT, setExitCode } from '../exit.ts'
import { out } from '../terminal.ts'

/** Below the time-outs of orchestrators, so that the reason is printed before they give up. */
const TIMEOUT_MS = 4000

const KINDS = ['live', 'ready'] as const

export function healthcheckCommand(): Command {
  return new Command('healthcheck')
    .description('Ask the node of this environment for its health: for containers, which have no curl.')
    .addArgument(
      new Argument('[kind]', 'which of /health/live and /health/ready').choices(KINDS).default('live'),
    )
    .addHelpText('after', '\nExit code 1 when the node is not well, or does not answer.')
    .action(checkHealth)
}

async function checkHealth(kind: (typeof KINDS)[number]): Promise<void> {
  const { host = '127.0.0.1', port, opsPort } = loadConfig(process.env)
  const name = host.includes(':') ? `[${host}]` : host
  const url = `http://${name}:${opsPort ?? port}/health/${kind}`
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    out(`${await answer.text()}\n`)
    if (!answer.ok) setExitCode(EXIT.failed)
  } catch (error) {
    const { message, cause } = error as Error
    throw new Error(`no answer from ${url}: ${(cause as Error | undefined)?.message ?? message}`, {
      cause: error,
    })
  }
}
