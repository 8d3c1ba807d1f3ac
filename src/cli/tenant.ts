import type { Command } from 'commander'
import { UsageError } from './exit.ts'

export interface TenantOptions {
  readonly tenant?: string
  readonly all?: true
}

/** The tenant of every session on a node that requires no tokens. */
export const DEFAULT_TENANT = 'default'

/** Adds the options that choose one tenant or all. */
export function withTenant(command: Command): Command {
  return command
    .option(
      '--tenant <id>',
      `this tenant (default: ${DEFAULT_TENANT}, which has every session where nodes require no tokens)`,
    )
    .option('--all', 'every tenant')
}

/** The tenant that the options choose; none for every tenant. */
export function tenantOf({ tenant, all }: { tenant?: string | undefined; all?: true | undefined }): {
  tenant?: string
} {
  if (tenant !== undefined && all) throw new UsageError('--tenant and --all exclude each other')
  return all ? {} : { tenant: tenant ?? DEFAULT_TENANT }
}
