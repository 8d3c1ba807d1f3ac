import { requireScope, requireSession } from '../../../auth/access.ts'
import type { Principal } from '../../../auth/principal.ts'
import type { SeenLog } from '../../../live/queries.ts'
import { AppError } from '../../../protocol/errors.ts'
import type { RenderedEvent } from '../../../protocol/event.ts'
import { seenLog } from '../../../sessions/session.ts'
import type { Sink } from '../../../tail/tail.ts'
import { renderAppended } from '../../appended.ts'
import { MAX_BATCH_SIZE } from '../../bounds.ts'
import type { Services } from '../../context.ts'
import { assertEventBytes, parseEvent } from '../../parseEvents.ts'
import { insertedAt } from '../../query.ts'
import { existingSessionId } from '../../sessionId.ts'
import { cursorMember, integerMember } from './members.ts'
import type { Message } from './serializer.ts'
import type { Join, Joined, Member } from './topic.ts'

/** The topic `tail:<session_id>`: the events of a session from a cursor on, and appends to it. */
export function tailTopic(services: Services, sessionId: string): Join {
  return async (payload, member, endTurn) => {
    if (member.tokenEnded) throw new AppError('token_expired', 'the token has expired')
    const cursor = cursorMember(payload, 'cursor') ?? 0
    const batchSize = integerMember(payload, 'batch_size', 1, MAX_BATCH_SIZE, 'invalid_tail_batch_size') ?? 1
    const seenAt = insertedAt(payload.cursor_inserted_at)
    mayRead(member.principal, sessionId)
    existingSessionId(sessionId)
    const session = await services.sessions.get(member.principal.tenantId, sessionId)
    await services.cursors.assertNotAhead(cursor, session.lastSeq)
    await services.cursors.check(session, cursor, seenAt, endTurn)
    const release = services.tailQuota.take(member.principal)
    return new JoinedTail(services, member, {
      sessionId,
      sid: session.sid,
      seen: seenLog(session),
      cursor,
      batchSize,
      release,
    })
  }
}

function mayRead(principal: Principal, sessionId: string): void {
  requireScope(principal, 'session:read')
  requireSession(principal, sessionId)
}

interface TailOfMember {
  readonly sessionId: string
  readonly sid: string
  readonly seen: SeenLog
  readonly cursor: number
  readonly batchSize: number
  /** Returns the tail's place in the quota of its principal. */
  readonly release: () => void
}

/**
 * The tail of a member. It sends lists of up to `batchSize` events. A page is read when it is this topic's turn, so a slow
 * socket has few pages in memory.
 */
class JoinedTail implements Joined, Sink {
  readonly readsAhead = false
  readonly #services: Services
  readonly #member: Member
  readonly #tail: TailOfMember
  #pageSent: (() => void) | undefined

  constructor(services: Services, member: Member, tail: TailOfMember) {
    this.#services = services
    this.#member = member
    this.#tail = tail
  }

  async run(): Promise<void> {
    const { sid, seen, cursor } = this.#tail
    const { signal } = this.#member
    try {
      await this.#services.tails.run({ sid, seen, cursor, until: undefined, sink: this, signal })
    } finally {
      this.#endPage()
    }
  }

  left(): void {
    this.#tail.release()
  }

  admit(principal: Principal): void {
    mayRead(principal, this.#tail.sessionId)
  }

  answerTo(event: string): ((message: Message) => Promise<string>) | undefined {
    if (event !== 'append') return undefined
    return (message) => append(this.#services, this.#member.principal, this.#tail.sessionId, message)
  }

  async room(signal: () => AbortSignal): Promise<void> {
    this.#pageSent ??= await this.#member.page(signal)
  }

  send(events: readonly RenderedEvent[]): void {
    const { batchSize } = this.#tail
    for (let i = 0; i < events.length; i += batchSize) {
      const batch = events.slice(i, i + batchSize)
      this.#member.push('events', `{"events":[${batch.map(withCursor).join(',')}]}`)
    }
    this.#endPage()
  }

  #endPage(): void {
    this.#pageSent?.()
    this.#pageSent = undefined
  }
}

/** The text of an event with the member `cursor`, which events have on the multiplexed socket alone. */
const withCursor = ({ seq, text }: RenderedEvent): string => `${text.slice(0, -1)},"cursor":${seq}}`

async function append(
  { appends, config }: Services,
  principal: Principal,
  sessionId: string,
  { payloadText }: Message,
): Promise<string> {
  requireScope(principal, 'session:append')
  requireSession(principal, sessionId)
  assertEventBytes(payloadText, { start: 0, end: payloadText.length }, config.limits.eventBytes)
  const result = await appends.append({
    tenantId: principal.tenantId,
    sessionId,
    events: [parseEvent(payloadText, principal, config.limits)],
    isBatch: false,
    bytes: payloadText.length,
  })
  return renderAppended(result)
}
