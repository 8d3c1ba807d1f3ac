import { APPEND } from './api/append.ts'
import { CONTRACT } from './api/contract.ts'
import { ERASURES } from './api/erasures.ts'
import { EVENTS } from './api/events.ts'
import { LIFECYCLE } from './api/lifecycle.ts'
import { OPS } from './api/ops.ts'
import { SESSIONS } from './api/sessions.ts'
import { SOCKET } from './api/socket.ts'
import { TAIL } from './api/tail.ts'
import { TAILS } from './api/tails.ts'
import type { Operation } from './operation.ts'

/** Every operation of the API, in the order of the OpenAPI document. */
export const OPERATIONS: readonly Operation[] = [
  ...SESSIONS,
  ...APPEND,
  ...EVENTS,
  ...TAIL,
  ...TAILS,
  ...SOCKET,
  ...ERASURES,
  ...LIFECYCLE,
  ...OPS,
  ...CONTRACT,
]
