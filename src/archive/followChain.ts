import { EventHasher } from './eventHasher.ts'
import { type ChainEnd, SessionChain } from './sessionChain.ts'

/** Starts to verify a session's chain: after a known event, or without one at the session's beginning. */
export type FollowChain = (
  owner: { readonly tenantId: string; readonly sessionId: string },
  after?: ChainEnd,
) => SessionChain

/** Creates a FollowChain whose chains share one hasher and its buffer. */
export function chainFollower(): FollowChain {
  const hasher = new EventHasher()
  return ({ tenantId, sessionId }, after) => {
    const chain = new SessionChain(hasher, tenantId, sessionId)
    if (after !== undefined) chain.continueAfter(after)
    return chain
  }
}
