import { Command } from 'commander'
import { deleteExpired, unload } from '../../../audit/load/queries.ts'
import { UsageError } from '../../exit.ts'
import { type TenantOptions, tenantOf, withTenant } from '../../tenant.ts'
import { amount, out } from '../../terminal.ts'

interface Options extends TenantOptions {
  readonly session?: string
}

export function unloadCommand(): Command {
  return withTenant(new Command('unload'))
    .description('Delete copies that `audit load` has made; without options, only the expired ones.')
    .option('--session <id>', 'only copies of this session')
    .action(async ({ session, ...options }: Options) => {
      if (session !== undefined && options.all) throw new UsageError('--all and --session exclude each other')
      const isScoped = session !== undefined || options.tenant !== undefined || options.all
      await unloadEvents(
        isScoped ? { ...tenantOf(options), ...(session !== undefined && { session }) } : undefined,
      )
    })
}

async function unloadEvents(scope: { tenant?: string; session?: string } | undefined): Promise<void> {
  const { requireScope, withSources } = await import('../../sources.ts')
  const deleted = await withSources(async ({ db, ownerDb }) => {
    if (scope !== undefined) await requireScope(db, scope)
    const expired = await deleteExpired(ownerDb)
    return expired + (scope === undefined ? 0 : await unload(ownerDb, scope))
  })
  out(`${amount(deleted)} copies were deleted.\n`)
}
