import type { Operation } from './operation.ts'
import { APPEND_OPERATIONS } from './operations/append.ts'
import { CONTRACT_OPERATIONS } from './operations/contract.ts'
import { ERASURE_OPERATIONS } from './operations/erasures.ts'
import { EVENT_OPERATIONS } from './operations/events.ts'
import { LIFECYCLE_OPERATIONS } from './operations/lifecycle.ts'
import { OPS_OPERATIONS } from './operations/ops.ts'
import { SESSION_OPERATIONS } from './operations/sessions.ts'
import { SOCKET_OPERATIONS } from './operations/socket.ts'
import { TAIL_OPERATIONS } from './operations/tail.ts'

/** Every operation of the API, in the order in which it is read about. */
export const OPERATIONS: readonly Operation[] = [
  ...SESSION_OPERATIONS,
  ...APPEND_OPERATIONS,
  ...EVENT_OPERATIONS,
  ...TAIL_OPERATIONS,
  ...SOCKET_OPERATIONS,
  ...ERASURE_OPERATIONS,
  ...LIFECYCLE_OPERATIONS,
  ...OPS_OPERATIONS,
  ...CONTRACT_OPERATIONS,
]
