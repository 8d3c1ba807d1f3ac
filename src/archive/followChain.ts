import { EventHasher } from './eventHasher.ts'
import { type ChainEnd, SessionChain } from './sessionChain.ts'

/** Begins to verify a session's chain: after an event that is known, or without one at the session's beginning. */
export type FollowChain = (
  owner: { readonly tenantId: string; readonly sessionId: string },
  after?: ChainEnd,
) => SessionChain

/** Its chains share one hasher, so only one of them may be used at a time. */
export function chainFollower(): FollowChain {
  const hasher = new EventHasher()
  return ({ tenantId, sessionId }, after) => {
    const chain = new SessionChain(hasher, tenantId, sessionId)
    if (after !== undefined) chain.continueAfter(after)
    return chain
  }
}
