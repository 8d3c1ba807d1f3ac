import type { Command } from 'commander'
import { StarciteError } from '../client/errors.ts'
import type { Fetch } from '../client/http/http.ts'
import type { Starcite } from '../client/starcite.ts'
import { UsageError } from './exit.ts'

/** The node that a command speaks to. */
export interface Target {
  readonly url: string
  readonly token?: string
}

/** Adds the options of every command that speaks to a node. */
export function withTarget(command: Command): Command {
  return command
    .option('--url <url>', 'URL of the node (STARCITE_URL)', defaultUrl())
    .option('--token <jwt>', 'token (STARCITE_TOKEN, which the list of processes does not show)')
}

function defaultUrl(): string {
  return process.env.STARCITE_URL || `http://localhost:${process.env.PORT || 4000}`
}

export async function clientOf({ url, token = process.env.STARCITE_TOKEN }: Target): Promise<Starcite> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`--url must be an http:// or https:// URL; it is ${JSON.stringify(url)}`)
  const [{ WebSocket }, { Starcite }] = await Promise.all([import('ws'), import('../client/starcite.ts')])
  return new Starcite({ url, WebSocket, fetch: failUntilAnswered(url), ...(token && { token }) })
}

/**
 * A fetch that rejects with `node_unreachable`, instead of a failure that the client retries, until a node has answered once:
 * before that, the address is probably wrong.
 */
function failUntilAnswered(url: string): Fetch {
  let hasAnswered = false
  return async (address, init) => {
    try {
      const response = await fetch(address, init)
      hasAnswered = true
      return response
    } catch (error) {
      if (hasAnswered || init.signal?.aborted) throw error
      const { cause } = error as Error
      const why = (cause as Error | undefined)?.message || (error as Error).message
      throw new StarciteError('node_unreachable', `no node answers at ${url}: ${why}`, { cause: error })
    }
  }
}
