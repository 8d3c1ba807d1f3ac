import { AppError } from '../protocol/errors.ts'
import type { Principal, Scope } from './principal.ts'

/** Throws forbidden_scope. */
export function requireScope({ scopes }: Principal, scope: Scope): void {
  if (!scopes.has(scope))
    throw new AppError('forbidden_scope', `the token lacks the scope ${scope}`, { required_scope: scope })
}

/** Throws forbidden_session when the token is locked to another session. */
export function requireSession(principal: Principal, sessionId: string): void {
  if (principal.sessionId !== null && principal.sessionId !== sessionId)
    throw new AppError('forbidden_session', 'the token is for another session')
}

/**
 * Who may follow what happens to all sessions of a tenant. Throws forbidden_scope, forbidden_session when the token is
 * locked to one session, forbidden when it is not a service's.
 */
export function requireService(principal: Principal): void {
  requireScope(principal, 'session:read')
  if (principal.sessionId !== null)
    throw new AppError('forbidden_session', 'the token is for one session, the feed is of all')
  if (principal.kind !== null && principal.kind !== 'service')
    throw new AppError('forbidden', 'the feed takes the token of a service (sub: service:…)')
}
