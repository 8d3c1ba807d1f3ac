import { AppError } from '../protocol/errors.ts'
import type { Principal, Scope } from './principal.ts'

/** Checks that the token has a scope. Throws forbidden_scope. */
export function requireScope({ scopes }: Principal, scope: Scope): void {
  if (!scopes.has(scope))
    throw new AppError('forbidden_scope', `the token lacks the scope ${scope}`, { required_scope: scope })
}

/** Checks that the token admits a session. Throws forbidden_session when it is restricted to another one. */
export function requireSession(principal: Principal, sessionId: string): void {
  if (principal.sessionId !== null && principal.sessionId !== sessionId)
    throw new AppError('forbidden_session', 'the token is restricted to another session')
}

/**
 * Checks that the token may follow the lifecycle feed of its tenant. Throws forbidden_scope, forbidden_session when the token
 * is restricted to one session, and forbidden when its subject is not a service.
 */
export function requireService(principal: Principal): void {
  requireScope(principal, 'session:read')
  if (principal.sessionId !== null)
    throw new AppError(
      'forbidden_session',
      'the lifecycle feed covers every session of the tenant, and the token is restricted to one',
    )
  if (principal.kind !== null && principal.kind !== 'service')
    throw new AppError('forbidden', 'the lifecycle feed needs the token of a service (sub: service:…)')
}
