import { nameOfPrincipal } from '../../../auth/principal.ts'
import { AppError } from '../../../protocol/errors.ts'
import type { Services } from '../../context.ts'
import { takeJoinTurn } from '../../joinTurn.ts'
import { lifecycleTopic } from './lifecycleTopic.ts'
import { tailTopic } from './tailTopic.ts'
import type { Join, Topics } from './topic.ts'

const TAIL = 'tail:'
const LIFECYCLE = 'lifecycle'

/** The topics that can be joined. */
export function createTopics(services: Services): Topics {
  return (topic) => {
    if (topic.startsWith(TAIL)) return inTurn(services, tailTopic(services, topic.slice(TAIL.length)))
    if (topic === LIFECYCLE) return inTurn(services, lifecycleTopic(services))
    return undefined
  }
}

/** A join queries Postgres, so a client that sends thousands of joins waits for its own turn and does not delay others. */
function inTurn(services: Services, join: Join): Join {
  return async (payload, member) => {
    const { principal, connection, signal } = member
    const end = await takeJoinTurn(services, nameOfPrincipal(principal) ?? connection, signal)
    if (end === undefined) throw new AppError('overloaded', 'the connection has ended')
    try {
      return await join(payload, member, end)
    } finally {
      end()
    }
  }
}
