import { Command, Option } from 'commander'
import { CSV } from '../../../audit/export/csv.ts'
import { NDJSON } from '../../../audit/export/ndjson.ts'
import type { Selection } from '../../../audit/read/selection.ts'
import { Meter, size } from '../../audit/meter.ts'
import { type Output, openOutput } from '../../audit/outputFile.ts'
import { type SelectionOptions, selectionOf, withSelection } from '../../audit/selection.ts'
import { toStdout } from '../../audit/stdout.ts'
import { UsageError } from '../../exit.ts'
import { amount, err } from '../../terminal.ts'

interface Options extends SelectionOptions {
  readonly format: keyof typeof FORMATS
  readonly output?: string
  readonly resume?: true
}

const FORMATS = { ndjson: NDJSON, csv: CSV } as const

export function exportCommand(): Command {
  return withSelection(new Command('export'))
    .description('Write events of Postgres and of objects, in order, as NDJSON or CSV.')
    .addOption(
      new Option('--format <format>', 'output format').choices(Object.keys(FORMATS)).default('ndjson'),
    )
    .option('--output <file>', 'file to write (default: standard output)')
    .option('--resume', 'continue an export that was cut, into the same file with the same options')
    .addHelpText(
      'after',
      `
Uses the environment of a node. Events are ordered by tenant, session and seq. Each session is written up to the end that
it has when its turn comes. NDJSON keeps payloads byte for byte. docs/audit-offline.md describes both formats.

  starcite audit export --session ses_demo | jq -c '[.seq, .type]'
  starcite audit export --all --from 2026-11-01 --to 2026-12-01 --format csv --output november.csv`,
    )
    .action(exportSelected)
}

/** Writes the selected events, and prints their number on standard error. */
async function exportSelected({ format: name, output, resume, ...options }: Options): Promise<void> {
  if (resume && output === undefined)
    throw new UsageError('--resume needs --output: the file of the export to continue')
  const selection = selectionOf(options)
  const [{ requireScope, withSources }, { countScope }, { exportEvents }] = await Promise.all([
    import('../../sources.ts'),
    import('../../../audit/read/queries.ts'),
    import('../../../audit/export/exportEvents.ts'),
  ])
  const format = FORMATS[name]
  const meter = new Meter('exported')
  const to = output === undefined ? toStdout(format.head) : await openOutput(output, format, resume === true)
  try {
    assertContinues(selection, to)
    const exported = await withSources(async ({ db, store, signal }) => {
      await requireScope(db, selection)
      const isWhole = selection.from === undefined && selection.to === undefined // else no count says how much is read
      const total = meter.isShown && isWhole ? (await countScope(db, selection)).events : 0
      return exportEvents({
        ...{ db, store, signal, selection, format, after: to.cursor },
        write: (bytes) => to.write(bytes),
        onProgress: (done) => meter.show(done, total > 0 ? Math.min(1, done.read / total) : undefined),
      })
    })
    await to.close()
    meter.clear()
    err(
      `${amount(exported.events)} events exported, ${size(exported.bytes)}, in ${meter.seconds.toFixed(1)} s.\n`,
    )
  } catch (error) {
    meter.clear()
    if ((await to.abandon()) && !(error instanceof UsageError))
      err(`The export was cut. What it wrote is in ${output}; --resume continues there.\n`)
    throw error
  }
}

/** Throws a UsageError when the last event in the file is not one of the selection: the file had other options. */
function assertContinues({ tenant, session }: Selection, { cursor }: Output): void {
  if (cursor === undefined) return
  if ((tenant ?? cursor.tenant) !== cursor.tenant || (session ?? cursor.session) !== cursor.session)
    throw new UsageError(
      `--resume: the file ends with session ${cursor.session} of tenant ${cursor.tenant}, which these options leave out`,
    )
}
