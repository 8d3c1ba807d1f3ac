import type { Log } from '../ops/log.ts'
import type { Admitted } from './origins.ts'

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/

/** Logs a warning at the start when clients or web pages have access without a token. */
export function warnOfOpenAccess(
  { auth, host, admitted }: { auth: { mode: string }; host: string | undefined; admitted: Admitted },
  log: Log,
): void {
  if (auth.mode !== 'none') return
  if (host === undefined || !LOOPBACK.test(host))
    log.warn(
      { host },
      'STARCITE_AUTH_MODE is none and STARCITE_HOST is not of this machine: every client that reaches the port can read, write and erase',
    )
  if (admitted.origins === '*' || admitted.hosts === '*')
    log.warn(
      { origins: admitted.origins, hosts: admitted.hosts },
      'STARCITE_AUTH_MODE is none: any web page in a browser that reaches this node can read, write and erase',
    )
}
