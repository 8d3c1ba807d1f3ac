import type { FollowChain } from '../../tiering/copy/lineChain.ts'
import { EventHasher } from '../eventHasher.ts'
import { SessionChain } from './sessionChain.ts'

/** For the tiering job, which verifies what it copies; one session at a time. */
export function chainFollower(): FollowChain {
  const hasher = new EventHasher()
  return ({ tenantId, sessionId }, after) => {
    const chain = new SessionChain(hasher, tenantId, sessionId)
    if (after !== undefined) chain.goOnAfter(after)
    return chain
  }
}
