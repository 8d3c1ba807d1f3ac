import { Command } from 'commander'
import { UsageError } from '../exit.ts'
import { err } from '../terminal.ts'

export function serveCommand(): Command {
  return new Command('serve')
    .description('Run a node, which environment variables configure (docs/configuration.md).')
    .option('--dev-auth', 'require tokens, and accept those of `starcite token`: for development')
    .addHelpText(
      'after',
      `
Without DATABASE_URL the node starts a Postgres of its own, in .starcite/. It stops on SIGTERM or Ctrl-C; docs/operations.md
describes its start, its end and its exit codes.

  starcite serve
  DATABASE_URL=postgres://… PORT=4001 starcite serve
  starcite serve --dev-auth      then: export STARCITE_TOKEN=$(starcite token --sub user:me)`,
    )
    .action(async ({ devAuth }: { devAuth?: true }) => {
      if (devAuth) await trustDevKey()
      const { runNode } = await import('../nodeProcess.ts')
      await runNode()
    })
}

/** Sets the environment of the node so that the development key of this machine is its issuer. */
async function trustDevKey(): Promise<void> {
  const own = Object.keys(process.env).filter(
    (name) => name.startsWith('STARCITE_AUTH_') && process.env[name],
  )
  if (own.length > 0)
    throw new UsageError(`--dev-auth excludes settings of authentication: unset ${own.join(', ')}`)
  const { DEV_AUDIENCE, DEV_ISSUER, openDevKey, serveJwks } = await import('../devKey.ts')
  const key = await openDevKey()
  const { url } = await serveJwks(key, 0)
  Object.assign(process.env, {
    STARCITE_AUTH_MODE: 'jwt',
    STARCITE_AUTH_JWKS_URL: url,
    STARCITE_AUTH_JWT_ISSUER: DEV_ISSUER,
    STARCITE_AUTH_JWT_AUDIENCE: DEV_AUDIENCE,
  })
  err(`The node accepts tokens of \`starcite token\`, signed with ${key.file}. For development only.\n`)
}
