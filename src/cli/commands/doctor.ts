import { Command } from 'commander'
import type { Finding } from '../doctor/check.ts'
import { EXIT, setExitCode } from '../exit.ts'
import { out, painter } from '../terminal.ts'

interface Options {
  readonly url?: string
  readonly token?: string
  readonly json?: true
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Check everything that a node needs, and say what to do about each problem.')
    .option('--url <url>', 'check a running node too')
    .option('--token <jwt>', 'token for that node (STARCITE_TOKEN)')
    .option('--json', 'print one JSON object per finding, one per line')
    .addHelpText(
      'after',
      `
Uses the environment of a node. It checks Postgres (reachable, version, durability, clock, connections, pooler, LISTEN end
to end, schema and rights) and cold storage (it puts, reads and deletes a probe object). Without DATABASE_URL it starts the
embedded Postgres. Exit code 1 when a check fails; warnings do not change it.`,
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
