import type { EnvReader } from '../lib/env.ts'

/** The address of a node, and the origins and hosts that it answers. Without tokens the defaults admit this machine alone. */
export function readReach(read: EnvReader, hasTokens: boolean) {
  const origins = read.origins('STARCITE_CORS_ORIGIN')
  const hosts = read.hosts('STARCITE_ALLOWED_HOSTS')
  return {
    host: read.text('STARCITE_HOST', hasTokens ? undefined : '127.0.0.1'),
    /** The host in URLs that the node prints. */
    shownHost: read.text('STARCITE_HOST', 'localhost'),
    /** Origins of pages that may call the API, and host names that requests may have. With tokens, any. */
    admitted: {
      origins: origins ?? (hasTokens ? ('*' as const) : ('loopback' as const)),
      hosts: hosts ?? (hasTokens ? ('*' as const) : []),
    },
  }
}
