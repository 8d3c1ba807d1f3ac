import { Command } from 'commander'
import { DEV_AUDIENCE, DEV_ISSUER, openDevKey, serveJwks } from '../devKey.ts'
import { UsageError } from '../exit.ts'
import { err } from '../terminal.ts'

export function serveCommand(): Command {
  return new Command('serve')
    .description('Run a node. It is configured by environment variables alone (docs/configuration.md).')
    .option('--dev-auth', 'ask for tokens, and believe those of `starcite token`: for development')
    .addHelpText(
      'after',
      `
Without DATABASE_URL the node starts a Postgres of its own, in .starcite/. It ends on SIGTERM or Ctrl-C, with the exit
codes of docs/operations.md.

  starcite serve
  DATABASE_URL=postgres://… PORT=4001 starcite serve
  starcite serve --dev-auth      then: export STARCITE_TOKEN=$(starcite token --sub user:me)`,
    )
    .action(async ({ devAuth }: { devAuth?: true }) => {
      if (devAuth) await trustDevKey()
      await import('../../main.ts') // is the node: it reads the environment, and ends the process
    })
}

/** Before the node reads its environment, says there that this machine's own key is the issuer. */
async function trustDevKey(): Promise<void> {
  const own = Object.keys(process.env).filter(
    (name) => name.startsWith('STARCITE_AUTH_') && process.env[name],
  )
  if (own.length > 0)
    throw new UsageError(`--dev-auth sets who is let in, and so does ${own.join(', ')}: only one of them can`)
  const key = await openDevKey()
  const { url } = await serveJwks(key, 0)
  Object.assign(process.env, {
    STARCITE_AUTH_MODE: 'jwt',
    STARCITE_AUTH_JWKS_URL: url,
    STARCITE_AUTH_JWT_ISSUER: DEV_ISSUER,
    STARCITE_AUTH_JWT_AUDIENCE: DEV_AUDIENCE,
  })
  err(`Tokens of \`starcite token\` are believed, by the key in ${key.file}. For development only.\n`)
}
