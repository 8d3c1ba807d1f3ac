import { type Authenticator, NO_AUTHENTICATION } from '../auth/authenticator.ts'
import { claimNames } from '../auth/claimNames.ts'
import { JwtAuthenticator } from '../auth/jwtAuthenticator.ts'
import type { Config } from '../config.ts'
import { measureKeys } from '../gauges.ts'
import type { StopStack } from '../lib/stopStack.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'

/** Starts the authenticator that the settings configure. */
export function openAuthenticator(
  { jwt }: Config['auth'],
  stack: StopStack,
  metrics: Metrics,
  log: Log,
): Authenticator {
  if (jwt === undefined) return NO_AUTHENTICATION
  const { jwksUrl, refreshMs, maxAgeMs, preset, claims, ...options } = jwt
  const names = claimNames(preset, claims)
  const authenticator = stack.add(
    'authenticator',
    new JwtAuthenticator({ ...options, names, keys: { url: jwksUrl, refreshMs, maxAgeMs }, log }),
  )
  measureKeys(metrics, authenticator.keys)
  authenticator.start()
  return authenticator
}
