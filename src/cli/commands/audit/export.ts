import { Command, Option } from 'commander'
import { type SelectionOptions, selectionOf, withSelection } from '../../audit/selection.ts'
import { UsageError } from '../../exit.ts'

interface Options extends SelectionOptions {
  readonly format: 'ndjson' | 'csv'
  readonly output?: string
  readonly resume?: true
}

export function exportCommand(): Command {
  return withSelection(new Command('export'))
    .description('Write events of Postgres and of objects, in order, as NDJSON or CSV.')
    .addOption(new Option('--format <format>', 'how').choices(['ndjson', 'csv']).default('ndjson'))
    .option('--output <file>', 'where to; standard output without it')
    .option('--resume', 'go on where an export into that file was cut; with the same options as then')
    .addHelpText(
      'after',
      `
With the environment of a node. By tenant, session and seq; each session up to the end that it has when its turn comes.
NDJSON keeps payloads byte for byte. docs/audit-offline.md describes both formats.

  starcite audit export --session ses_demo | jq -c '[.seq, .type]'
  starcite audit export --all --from 2026-11-01 --to 2026-12-01 --format csv --output november.csv`,
    )
    .action(async ({ format, output, resume, ...options }: Options) => {
      if (resume && output === undefined)
        throw new UsageError('--resume needs --output: the file to go on with')
      const selection = selectionOf(options)
      const { exportSelected } = await import('../../audit/export.ts')
      await exportSelected({ selection, format, output, isResumed: resume === true })
    })
}
