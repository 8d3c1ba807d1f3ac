import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import { AppError } from '../protocol/errors.ts'

/** RFC 6750: the scheme in any case, at least one space, one token. What the token is made of is not looked at here. */
const BEARER = /^bearer +(\S+)$/i

/**
 * The token of a request: from its Authorization header, or from the query parameter of that name, if the caller allows
 * one. Undefined when it has none. Throws `unauthorized` when it has something else, or several.
 */
export function findToken(ctx: Context, queryParameter: string | undefined): string | undefined {
  const inHeader = headerToken(ctx.req)
  // Koa reads the query string when it is asked for it.
  const inQuery = queryParameter === undefined ? undefined : ctx.query[queryParameter]
  if (Array.isArray(inQuery)) throw ambiguous(`${queryParameter} is given more than once`)
  if (inHeader !== undefined && inQuery !== undefined && inHeader !== inQuery)
    throw ambiguous(`Authorization and ${queryParameter} differ`)
  return inHeader ?? inQuery
}

function headerToken({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const { authorization } = headers
  if (authorization === undefined) return undefined
  // Node keeps the first of several and drops the rest; whoever is before us may have looked at another one.
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === 'authorization') count += 1
  if (count > 1) throw ambiguous('Authorization is given more than once')
  const token = BEARER.exec(authorization)?.[1]
  if (token === undefined) throw new AppError('unauthorized', 'Authorization must be "Bearer <token>"')
  return token
}

const ambiguous = (what: string) => new AppError('unauthorized', `${what}; send exactly one token`)
