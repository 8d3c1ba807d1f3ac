import { Command } from 'commander'
import { DEV_AUDIENCE, DEV_ISSUER, jwksOf, openDevKey, serveJwks, signDevToken } from '../devKey.ts'
import { UsageError } from '../exit.ts'
import { integer } from '../target.ts'
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

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

function seconds(text: string): number {
  const match = /^(\d+)([smhd])$/.exec(text)
  const value = match ? Number(match[1]) * (UNITS[match[2] ?? ''] ?? Number.NaN) : Number.NaN
  if (value > 0) return value
  throw new UsageError(`--ttl must be a time, such as 30m, 8h or 7d; it is ${JSON.stringify(text)}`)
}

export function tokenCommand(): Command {
  return new Command('token')
    .description('Print a token for development, signed by a key of this folder.')
    .option(
      '--sub <subject>',
      'who it is for: user:…, agent:… or service:…; the actor of its events',
      'user:dev',
    )
    .option('--tenant <id>', 'whose sessions it reaches', 'default')
    .option('--scope <scopes>', 'what it may do', 'session:create session:read session:append')
    .option('--session <id>', 'lock it to one session')
    .option('--ttl <time>', 'how long it is good: 30m, 8h, 7d', seconds, 86_400)
    .option('--jwks', 'print the public key instead, as a JWK Set')
    .option(
      '--serve-jwks',
      'publish the public key on this machine, until Ctrl-C, for a node that runs apart',
    )
    .option('--port <port>', 'for --serve-jwks', integer('--port', 0, 65_535), 4040)
    .addHelpText(
      'after',
      `
The key is made at the first use, in .starcite/dev-key.json. Two commands are enough:

  starcite serve --dev-auth                          (in one terminal)
  export STARCITE_TOKEN=$(starcite token --sub agent:drafter)

For a node that is started otherwise, \`starcite token --serve-jwks\` publishes the key and prints the variables that the
node needs. Never use these tokens where the data matters.`,
    )
    .action(async (options: Options) => {
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
  const { url, ref } = await serveJwks(await openDevKey(), port)
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
  err('Start the node with these. The key is published until Ctrl-C.\n')
}
