import { Command } from 'commander'
import { type TenantOptions, tenantOf, withTenant } from '../../audit/tenant.ts'
import { EXIT, type SetExitCode, UsageError } from '../../exit.ts'

interface Options extends TenantOptions {
  readonly from?: string
  readonly heads?: string
  readonly json?: true
}

export function verifyCommand(setExitCode: SetExitCode): Command {
  return withTenant(new Command('verify'))
    .description('Recompute the hash chains of a session, or of all, and say what is wrong.')
    .argument('[session]', 'only this one')
    .option('--from <directory>', 'of a copy of the bucket alone, without Postgres')
    .option('--heads <file>', 'hashes that you have kept: NDJSON of tenant_id, session_id, seq, hash')
    .option('--json', 'one JSON object a finding, one a line, and a last one that sums up')
    .addHelpText(
      'after',
      `
With the environment of a node: events in Postgres and in objects, the objects against the manifest, the chains from
their beginnings to the heads. Nodes may go on meanwhile. With --from: what \`aws s3 sync\` has copied, and nothing else;
then every tenant in it, unless --tenant says which. Exit code 1 when something is wrong.

  starcite audit verify ses_demo
  starcite audit verify --all --json
  aws s3 sync s3://bucket/starcite ./copy && starcite audit verify --from ./copy`,
    )
    .action(async (session: string | undefined, { from, heads, json, tenant, all }: Options) => {
      if (session !== undefined && all) throw new UsageError('--all and a session exclude each other')
      tenantOf({ tenant, all }) // refuses both
      const { verify } = await import('../../audit/verify.ts')
      const isRight = await verify({ session, tenant, all, from, heads, json })
      setExitCode(isRight ? EXIT.ok : EXIT.failed)
    })
}
