import type { Command } from 'commander'
import { UsageError } from '../exit.ts'

export interface TenantOptions {
  readonly tenant?: string
  readonly all?: true
}

/** Where no tokens are asked for, everything belongs to this one. */
export const DEFAULT_TENANT = 'default'

export function withTenant(command: Command): Command {
  return command
    .option('--tenant <id>', `whose sessions (${DEFAULT_TENANT}, which is everybody where there is no auth)`)
    .option('--all', 'of every tenant')
}

/** Undefined: every tenant. */
export function tenantOf({ tenant, all }: { tenant?: string | undefined; all?: true | undefined }): {
  tenant?: string
} {
  if (tenant !== undefined && all) throw new UsageError('--tenant and --all exclude each other')
  return all ? {} : { tenant: tenant ?? DEFAULT_TENANT }
}
