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
