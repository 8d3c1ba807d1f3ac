import { Command } from 'commander'
import { type SelectionOptions, selectionOf, withSelection } from '../../audit/selection.ts'
import { type TenantOptions, tenantOf, withTenant } from '../../audit/tenant.ts'
import { UsageError } from '../../exit.ts'

interface Options extends SelectionOptions {
  readonly for: number
}

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }
const MAX_DAYS = 365

function duration(text: string): number {
  const { amount, unit } = /^(?<amount>\d+)(?<unit>[mhd])$/.exec(text)?.groups ?? {}
  const ms = Number(amount) * (UNITS[unit ?? ''] ?? Number.NaN)
  if (ms > 0 && ms <= MAX_DAYS * 86_400_000) return ms
  throw new UsageError(
    `--for must be a time such as 12h or 7d, of at most ${MAX_DAYS}d; it is ${JSON.stringify(text)}`,
  )
}

export function loadCommand(): Command {
  return withSelection(new Command('load'))
    .description(
      'Put copies of cold events back into Postgres for a while, behind the view audit.events_loaded.',
    )
    .option('--for <time>', 'how long: minutes (30m), hours (12h) or days (7d)', duration, duration('7d'))
    .addHelpText(
      'after',
      `
With the environment of a node, as a user who may move segments (STARCITE_TIERING_URL). Which events has to be said:
--session, --from, --to, --type or --actor. They are in an unlogged table, which a crash of the server empties, and which
the erasure of a session or of an event reaches. To load them again is to keep them longer.

  starcite audit load --session ses_demo --for 1d
  psql -c 'table audit.events_loaded'`,
    )
    .action(async ({ for: keepMs, ...options }: Options) => {
      const selection = selectionOf(options)
      const { session, from, to, types, actors } = selection
      if ((session ?? from ?? to) === undefined && types.size + actors.size === 0)
        throw new UsageError('say which events: --session, --from, --to, --type or --actor')
      const { loadSelected } = await import('../../audit/load.ts')
      await loadSelected(selection, keepMs)
    })
}

export function unloadCommand(): Command {
  return withTenant(new Command('unload'))
    .description('Delete copies that `audit load` has made; without options those whose time is over.')
    .option('--session <id>', 'those of this session')
    .action(async ({ session, ...tenant }: TenantOptions & { readonly session?: string }) => {
      if (session !== undefined && tenant.all) throw new UsageError('--all and --session exclude each other')
      const isScoped = session !== undefined || tenant.tenant !== undefined || tenant.all
      const scope = isScoped ? { ...tenantOf(tenant), ...(session !== undefined && { session }) } : undefined
      const { unloadEvents } = await import('../../audit/load.ts')
      await unloadEvents(scope)
    })
}
