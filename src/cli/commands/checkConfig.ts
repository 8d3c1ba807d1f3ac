import { Command } from 'commander'
import { ConfigError, loadConfig, unknownSettings } from '../../config.ts'
import { EXIT, setExitCode } from '../exit.ts'
import { maskSecrets } from '../maskSecrets.ts'
import { err, out } from '../terminal.ts'

export function checkConfigCommand(): Command {
  return new Command('check-config')
    .description('Print the configuration that a node reads from this environment, or every problem with it.')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nSecrets are masked. Exit code 2 when a node would not start. The command connects to nothing; see `starcite doctor`.',
    )
    .action(({ json }: { json?: true }) => {
      try {
        const config = maskSecrets(loadConfig(process.env))
        out(json ? `${JSON.stringify(config)}\n` : lines(config).join(''))
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        if (json) out(`${JSON.stringify({ problems: error.problems })}\n`)
        else err(`starcite: ${error.message}\n`)
        setExitCode(EXIT.usage)
      }
      for (const it of unknownSettings(process.env)) err(`${unknown(it)}\n`)
    })
}

const unknown = ({ name, near }: { name: string; near: string | undefined }) =>
  `unknown setting ${name}${near === undefined ? '' : `; did you mean ${near}?`}`

function lines(value: object, path = ''): string[] {
  return Object.entries(value).flatMap(([key, it]) => {
    if (it === undefined) return [`${path}${key} = (not set)\n`]
    if (typeof it === 'object' && it !== null && !Array.isArray(it)) return lines(it, `${path}${key}.`)
    return [`${path}${key} = ${Array.isArray(it) ? it.join(' ') : it}\n`]
  })
}
