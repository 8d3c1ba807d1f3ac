import { isIP } from 'node:net'
import type { Context, Middleware } from 'koa'
import { AppError } from '../protocol/errors.ts'
import { rejectHandshake, SOCKET_PATH } from './socketPath.ts'

/** Which pages, and under which names of the node, its API is for. */
export interface Admitted {
  /** Origins of pages; `loopback`: those of this machine, at any port. A page of the node's own origin is always. */
  readonly origins: '*' | 'loopback' | readonly string[]
  /** What `Host` may name, without a port; `.example.com` stands for every name below it. */
  readonly hosts: '*' | readonly string[]
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Documents that are for everybody. */
const OPEN = new Set(['/openapi.json', '/asyncapi.json'])

/**
 * Refuses what a foreign page has a browser send: without tokens a browser's place in the network is all that it takes.
 * `Host` is looked at because a page can have its own name point here (DNS rebinding), and then is of the same origin.
 */
export function rejectForeignPages(admitted: Admitted): Middleware {
  if (admitted.origins === '*' && admitted.hosts === '*') return (_, next) => next()
  let good: string | undefined // as `Host` had it last; a node has few names
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

/** What is answered as Access-Control-Allow-Origin; empty: nothing. */
export function allowedOrigin(ctx: Context, admitted: Admitted): string {
  if (admitted.origins === '*' || OPEN.has(ctx.path)) return '*'
  const { origin } = ctx.req.headers
  return origin !== undefined && isAdmitted(origin, admitted) ? origin : ''
}

function foreignHost(host: string, hosts: Admitted['hosts']): AppError | undefined {
  if (hosts === '*') return undefined
  const name = hostOf(host)
  if (isOfNobody(name)) return undefined
  if (hosts.some((it) => (it.startsWith('.') ? name.endsWith(it) : it === name))) return undefined
  return new AppError(
    'forbidden_host',
    `host ${JSON.stringify(name.slice(0, 256))} is not allowed; STARCITE_ALLOWED_HOSTS lists the allowed hosts`,
  )
}

/** Names that a foreign page cannot have: addresses, names without a dot, and `localhost`. */
const isOfNobody = (name: string): boolean =>
  isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 || !name.includes('.') || name.endsWith('.localhost')

function foreignOrigin({ method, req }: Context, admitted: Admitted): AppError | undefined {
  const { origin, host } = req.headers
  // Every browser sends an Origin with what is not safe; should one not, this says where it came from.
  if (method === 'OPTIONS') return undefined // a preflight, which goes no further without its header
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

/** Whether a page is of the origin under which it calls. Which protocol that is, only the one who ends TLS knows. */
function isSame(origin: string, host: string | undefined): boolean {
  if (host === undefined || !URL.canParse(origin)) return false
  const { protocol, host: own } = new URL(origin)
  const called = `${protocol}//${host}`
  return /^https?:$/.test(protocol) && URL.canParse(called) && new URL(called).host === own
}

/** Without the port, in lower case, without the dot that a full name may end in. */
const hostOf = (host: string): string => host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
