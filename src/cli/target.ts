import type { Command } from 'commander'
import { WebSocket } from 'ws'
import { StarciteError } from '../client/errors.ts'
import type { Fetch } from '../client/http/http.ts'
import { Starcite } from '../client/starcite.ts'
import { UsageError } from './exit.ts'

export interface Target {
  readonly url: string
  readonly token?: string
}

/** The options of every command that speaks to a node. */
export function withTarget(command: Command): Command {
  return command
    .option('--url <url>', 'where the node is (STARCITE_URL)', defaultUrl())
    .option('--token <jwt>', 'who you are (STARCITE_TOKEN; an argument is seen by whoever lists processes)')
}

function defaultUrl(): string {
  return process.env.STARCITE_URL || `http://localhost:${process.env.PORT || 4000}`
}

export function clientOf({ url, token = process.env.STARCITE_TOKEN }: Target): Starcite {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new UsageError(`--url must be an http:// or https:// URL; it is ${JSON.stringify(url)}`)
  return new Starcite({ url, WebSocket, fetch: untilAnswered(url), ...(token && { token }) })
}

/**
 * Until something has answered for the first time, an address where nothing does is the user's mistake, and is told at once
 * instead of being tried again. Rejects with `node_unreachable`.
 */
function untilAnswered(url: string): Fetch {
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

/** The value of an option that takes JSON: an object. */
export function jsonObject(option: string): (text: string) => Record<string, unknown> {
  return (text) => {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      throw new UsageError(
        `${option} must be a JSON object, such as '{"text":"hello"}': ${(error as Error).message}`,
      )
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new UsageError(`${option} must be a JSON object; it is ${text}`)
    return value as Record<string, unknown>
  }
}

export function integer(
  option: string,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new UsageError(`${option} must be an integer from ${min}; it is ${JSON.stringify(text)}`)
  }
}
