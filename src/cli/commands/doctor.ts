import { Command } from 'commander'
import type { Finding } from '../doctor/check.ts'
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
      const { examine } = await import('../doctor/examine.ts')
      for await (const finding of examine(target)) {
        if (finding.result === 'failed') worst = EXIT.failed
        out(show(finding))
      }
      setExitCode(worst)
    })
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
