import { isIP } from 'node:net'
import type { Context, Middleware } from 'koa'
import { AppError } from '../protocol/errors.ts'
import { rejectHandshake, SOCKET_PATH } from './socketPath.ts'

/** The web pages that may call the API, and the host names under which they may. */
export interface Admitted {
  /** Allowed origins of pages; `loopback`: those of this machine, at any port. Pages of the node's own origin are always allowed. */
  readonly origins: '*' | 'loopback' | readonly string[]
  /** Allowed values of `Host`, without a port; `.example.com` allows every name below it. */
  readonly hosts: '*' | readonly string[]
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Documents that pages of every origin may read. */
const OPEN = new Set(['/openapi.json', '/asyncapi.json'])

/**
 * Rejects requests that a page of another site makes a browser send: without tokens such a page needs only the browser's place
 * in the network. `Host` is checked because a page can point its own name at the node (DNS rebinding) and has its origin then.
 */
export function rejectForeignPages(admitted: Admitted): Middleware {
  if (admitted.origins === '*' && admitted.hosts === '*') return (_, next) => next()
  let good: string | undefined // the last allowed `Host`; a node has few names
  const hostProblem = (host: string | undefined) => {
    if (host === undefined || host === good) return undefined
    const why = foreignHost(host, admitted.hosts)
    if (why === undefined) good = host
    return why
  }
  return (ctx, next) => {
    const why = ctx.path.startsWith('/v1/')
      ? (hostProblem(ctx.req.headers.host) ?? foreignOrigin(ctx, admitted))
      : undefined
    if (why === undefined) return next()
    if (ctx.path !== SOCKET_PATH) throw why
    return rejectHandshake(ctx)
  }
}

/** The value of Access-Control-Allow-Origin; empty: the header is not sent. */
export function allowedOrigin(ctx: Context, admitted: Admitted): string {
  if (admitted.origins === '*' || OPEN.has(ctx.path)) return '*'
  const { origin } = ctx.req.headers
  return origin !== undefined && isAdmitted(origin, admitted) ? origin : ''
}

function foreignHost(host: string, hosts: Admitted['hosts']): AppError | undefined {
  if (hosts === '*') return undefined
  const name = hostOf(host)
  if (isUnclaimable(name)) return undefined
  if (hosts.some((it) => (it.startsWith('.') ? name.endsWith(it) : it === name))) return undefined
  return new AppError(
    'forbidden_host',
    `host ${JSON.stringify(name.slice(0, 256))} is not allowed; STARCITE_ALLOWED_HOSTS lists the allowed hosts`,
  )
}

/** Whether no page of another site can have this host name: addresses, names without a dot, and `localhost`. */
const isUnclaimable = (name: string): boolean =>
  isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 || !name.includes('.') || name.endsWith('.localhost')

function foreignOrigin({ method, req }: Context, admitted: Admitted): AppError | undefined {
  const { origin, host } = req.headers
  // Browsers send an Origin with every request that is not safe. Sec-Fetch-Site is the fallback for one that does not.
  if (method === 'OPTIONS') return undefined // a preflight; without the CORS header the browser stops after it
  const isForeign =
    origin === undefined
      ? req.headers['sec-fetch-site'] === 'cross-site' && !SAFE.has(method) && admitted.origins !== '*'
      : !isAdmitted(origin, admitted) && !isSame(origin, host)
  if (!isForeign) return undefined
  return new AppError(
    'forbidden_origin',
    `origin ${JSON.stringify((origin ?? 'another site').slice(0, 256))} is not allowed; STARCITE_CORS_ORIGIN lists the allowed origins`,
  )
}

function isAdmitted(origin: string, { origins }: Admitted): boolean {
  if (origins === '*') return true
  if (origins !== 'loopback') return origins.includes(origin)
  const name = URL.canParse(origin) ? new URL(origin).hostname : ''
  return name === 'localhost' || name.endsWith('.localhost') || name === '[::1]' || isLoopbackV4(name)
}

const isLoopbackV4 = (name: string) => isIP(name) === 4 && name.startsWith('127.')

/** Whether a page calls the origin that it comes from. The node takes the page's protocol, since only the TLS proxy knows its own. */
function isSame(origin: string, host: string | undefined): boolean {
  if (host === undefined || !URL.canParse(origin)) return false
  const { protocol, host: own } = new URL(origin)
  const called = `${protocol}//${host}`
  return /^https?:$/.test(protocol) && URL.canParse(called) && new URL(called).host === own
}

/** The host name in lower case, without the port and the final dot of a fully qualified name. */
const hostOf = (host: string): string => host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
