import { Command } from 'commander'
import type { Selection } from '../../../audit/read/selection.ts'
import { Meter } from '../../audit/meter.ts'
import { type SelectionOptions, selectionOf, withSelection } from '../../audit/selection.ts'
import { UsageError } from '../../exit.ts'
import { seconds } from '../../optionValues.ts'
import { amount, out } from '../../terminal.ts'

interface Options extends SelectionOptions {
  readonly for: number
}

const duration = seconds('--for', 365)

export function loadCommand(): Command {
  return withSelection(new Command('load'))
    .description('Copy cold events back into Postgres for a while, behind the view audit.events_loaded.')
    .option('--for <time>', 'time to keep the copies: 30m, 12h, 7d', duration, duration('7d'))
    .addHelpText(
      'after',
      `
Uses the environment of a node, and needs a login that may move segments (STARCITE_TIERING_URL). One of --session, --from,
--to, --type and --actor must choose the events. The copies are in an unlogged table: a crash of the server empties it, and
the erasure of a session or of an event reaches it. Loading events again keeps them longer.

  starcite audit load --session ses_demo --for 1d
  psql -c 'table audit.events_loaded'`,
    )
    .action(({ for: keepSeconds, ...options }: Options) => {
      const selection = selectionOf(options)
      const { session, from, to, types, actors } = selection
      if ((session ?? from ?? to) === undefined && types.size + actors.size === 0)
        throw new UsageError('choose events: set --session, --from, --to, --type or --actor')
      return loadSelected(selection, keepSeconds * 1000)
    })
}

async function loadSelected(selection: Selection, keepMs: number): Promise<void> {
  const [{ requireScope, withSources }, { loadEvents }] = await Promise.all([
    import('../../sources.ts'),
    import('../../../audit/load/loadEvents.ts'),
  ])
  const meter = new Meter('loaded')
  const loaded = await withSources(async (sources) => {
    await requireScope(sources.db, selection)
    return loadEvents({ ...sources, selection, keepMs, onProgress: (done) => meter.show(done) })
  }).finally(() => meter.clear())
  out(
    `${amount(loaded.events)} cold events are in audit.events_loaded until ${loaded.expiresAt.slice(0, 19)}Z; ` +
      `${amount(loaded.read)} were read, in ${meter.seconds.toFixed(1)} s.\n`,
  )
}
