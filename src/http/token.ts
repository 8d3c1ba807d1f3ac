import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import { AppError } from '../protocol/errors.ts'

/** RFC 6750: the scheme in any case, at least one space, one token. The characters of the token are not checked here. */
const BEARER = /^bearer +(\S+)$/i

/**
 * The token of a request: from its Authorization header, or from the query parameter, when the operation has one. Undefined
 * when there is none. Throws `unauthorized` for several tokens, or another scheme.
 */
export function findToken(ctx: Context, queryParameter: string | undefined): string | undefined {
  const inHeader = headerToken(ctx.req)
  // Koa parses the query string when `query` is first read.
  const inQuery = queryParameter === undefined ? undefined : ctx.query[queryParameter]
  if (Array.isArray(inQuery)) throw ambiguous(`${queryParameter} is given more than once`)
  if (inHeader !== undefined && inQuery !== undefined && inHeader !== inQuery)
    throw ambiguous(`Authorization and ${queryParameter} differ`)
  return inHeader ?? inQuery
}

function headerToken({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const { authorization } = headers
  if (authorization === undefined) return undefined
  // Node keeps the first of several headers. A proxy before the node may have checked another one.
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === 'authorization') count += 1
  if (count > 1) throw ambiguous('Authorization is given more than once')
  const token = BEARER.exec(authorization)?.[1]
  if (token === undefined) throw new AppError('unauthorized', 'Authorization must be "Bearer <token>"')
  return token
}

const ambiguous = (what: string) => new AppError('unauthorized', `${what}; send exactly one token`)
