import type { Services } from '../../context.ts'
import { lifecycleTopic } from './lifecycleTopic.ts'
import { tailTopic } from './tailTopic.ts'
import type { Topics } from './topic.ts'

const TAIL = 'tail:'
const LIFECYCLE = 'lifecycle'

/** Every topic that can be joined. */
export function createTopics(services: Services): Topics {
  return (topic) => {
    if (topic.startsWith(TAIL)) return tailTopic(services, topic.slice(TAIL.length))
    if (topic === LIFECYCLE) return lifecycleTopic(services)
    return undefined
  }
}
