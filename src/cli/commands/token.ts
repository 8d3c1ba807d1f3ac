import { Command } from 'commander'
import { explainListenError } from '../exit.ts'
import { integer, seconds } from '../optionValues.ts'
import { err, out } from '../terminal.ts'

interface Options {
  readonly sub: string
  readonly tenant: string
  readonly scope: string
  readonly session?: string
  readonly ttl: number
  readonly jwks?: true
  readonly serveJwks?: true
  readonly port: number
}

export function tokenCommand(): Command {
  return new Command('token')
    .description('Print a token for development, signed by the key in this folder.')
    .option('--sub <subject>', 'subject, and actor of its events: user:…, agent:… or service:…', 'user:dev')
    .option('--tenant <id>', 'tenant of the token', 'default')
    .option('--scope <scopes>', 'scopes', 'session:create session:read session:append')
    .option('--session <id>', 'restrict the token to one session')
    .option('--ttl <time>', 'validity: 30m, 8h, 7d', seconds('--ttl'), 86_400)
    .option('--jwks', 'print the public key instead, as a JWK Set')
    .option(
      '--serve-jwks',
      'publish the public key on 127.0.0.1, until Ctrl-C, for a node without --dev-auth',
    )
    .option('--port <port>', 'port of --serve-jwks', integer('--port', 0, 65_535), 4040)
    .addHelpText(
      'after',
      `
The first use creates the key, in .starcite/dev-key.json. Two commands are enough:

  starcite serve --dev-auth                          (in one terminal)
  export STARCITE_TOKEN=$(starcite token --sub agent:drafter)

For a node that is started without --dev-auth, \`starcite token --serve-jwks\` publishes the key and prints the variables
that the node needs. Never use these tokens where the data matters.`,
    )
    .action(async (options: Options) => {
      const { jwksOf, openDevKey, signDevToken } = await import('../devKey.ts')
      const key = await openDevKey()
      if (options.jwks) out(`${jwksOf(key)}\n`)
      else if (options.serveJwks) await publish(options.port)
      else
        out(
          `${await signDevToken(key, {
            sub: options.sub,
            tenantId: options.tenant,
            scope: options.scope.replaceAll(',', ' '),
            sessionId: options.session,
            ttlSeconds: options.ttl,
          })}\n`,
        )
    })
}

async function publish(port: number): Promise<void> {
  const { DEV_AUDIENCE, DEV_ISSUER, openDevKey, serveJwks } = await import('../devKey.ts')
  const { url, ref } = await serveJwks(await openDevKey(), port).catch((error) => {
    throw explainListenError(error, '--port')
  })
  ref()
  out(
    [
      'STARCITE_AUTH_MODE=jwt',
      `STARCITE_AUTH_JWKS_URL=${url}`,
      `STARCITE_AUTH_JWT_ISSUER=${DEV_ISSUER}`,
      `STARCITE_AUTH_JWT_AUDIENCE=${DEV_AUDIENCE}`,
      '',
    ].join('\n'),
  )
  err('Start the node with these variables. The key is published until Ctrl-C.\n')
}
