import { nameOfPrincipal } from '../../../auth/principal.ts'
import { AppError } from '../../../protocol/errors.ts'
import type { Services } from '../../context.ts'
import { lifecycleTopic } from './lifecycleTopic.ts'
import { tailTopic } from './tailTopic.ts'
import type { Join, Topics } from './topic.ts'

const TAIL = 'tail:'
const LIFECYCLE = 'lifecycle'
/** How many times STARCITE_STORAGE_TIMEOUT a join waits for its turn: with both at their defaults, as long as Phoenix's clients. */
const PATIENCE = 2

/** Every topic that can be joined. */
export function createTopics(services: Services): Topics {
  return (topic) => {
    if (topic.startsWith(TAIL)) return inTurn(services, tailTopic(services, topic.slice(TAIL.length)))
    if (topic === LIFECYCLE) return inTurn(services, lifecycleTopic(services))
    return undefined
  }
}

/** A join is one of the tenant's requests, and has Postgres asked: who sends thousands waits for itself, not others for it. */
function inTurn({ config, joins, requestQuota }: Services, join: Join): Join {
  return async (payload, member) => {
    const { principal, connection, signal } = member
    if (requestQuota) await requestQuota.take(principal.tenantId)
    const patience = AbortSignal.timeout(PATIENCE * config.database.timeoutMs)
    const end = await joins.take(
      nameOfPrincipal(principal) ?? connection,
      AbortSignal.any([signal, patience]),
    )
    if (end === undefined)
      throw new AppError('overloaded', 'too many joins are waiting; join again later', {
        retry_after_ms: 1000,
      })
    try {
      return await join(payload, member, end)
    } finally {
      end()
    }
  }
}
