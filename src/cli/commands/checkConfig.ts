import { Command } from 'commander'
import { ConfigError, loadConfig, unknownSettings } from '../../config.ts'
import { EXIT, type SetExitCode } from '../exit.ts'
import { maskSecrets } from '../maskSecrets.ts'
import { err, out } from '../terminal.ts'

export function checkConfigCommand(setExitCode: SetExitCode): Command {
  return new Command('check-config')
    .description(
      'Print what a node would make of this environment, without secrets, or every problem with it.',
    )
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      '\nExit code 2 when a node would not start with it. Nothing is connected to: see `starcite doctor`.',
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
  `${name} is not a variable of Starcite${near === undefined ? '' : `; did you mean ${near}?`}`

function lines(value: object, path = ''): string[] {
  return Object.entries(value).flatMap(([key, it]) => {
    if (it === undefined) return [`${path}${key} = (not set)\n`]
    if (typeof it === 'object' && it !== null && !Array.isArray(it)) return lines(it, `${path}${key}.`)
    return [`${path}${key} = ${Array.isArray(it) ? it.join(' ') : it}\n`]
  })
}
