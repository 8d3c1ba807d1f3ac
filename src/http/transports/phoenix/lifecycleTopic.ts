import { requireService } from '../../../auth/access.ts'
import { type Cursor, parseCursor } from '../../../lifecycle/cursor.ts'
import type { LifecycleEvent } from '../../../lifecycle/entry.ts'
import type { LifecycleSink } from '../../../lifecycle/feed.ts'
import { AppError } from '../../../protocol/errors.ts'
import type { Services } from '../../context.ts'
import { cursorAt } from '../../query.ts'
import type { Join, Joined, Member } from './topic.ts'

/** The topic `lifecycle`: the lifecycle feed of the tenant from a cursor on, or from now on. */
export function lifecycleTopic({ lifecycle, tailQuota }: Services): Join {
  return async (payload, member) => {
    if (member.tokenEnded) throw new AppError('token_expired', 'the token has expired')
    const wanted = cursorOf(payload)
    requireService(member.principal)
    const { tenantId } = member.principal
    const cursor = await lifecycle.startAt(tenantId, wanted)
    const release = tailQuota.take(member.principal)
    return {
      run: () =>
        follow(member, (sink) => lifecycle.follow({ tenantId, cursor, sink, signal: member.signal })),
      left: release,
      admit: requireService,
      answerTo: () => undefined,
    } satisfies Joined
  }
}

function cursorOf({ cursor, cursor_at }: Readonly<Record<string, unknown>>): Cursor | undefined {
  const at = cursorAt(cursor_at)
  if (cursor === undefined || cursor === null) return undefined
  return parseCursor(typeof cursor === 'string' ? cursor : '', 'cursor', at)
}

async function follow(member: Member, run: (sink: LifecycleSink) => Promise<void>): Promise<void> {
  const sink = new MemberSink(member)
  try {
    await run(sink)
  } finally {
    sink.send([])
  }
}

/** Sends each event as a push. A page is read when it is this topic's turn. */
class MemberSink implements LifecycleSink {
  readonly #member: Member
  #pageSent: (() => void) | undefined

  constructor(member: Member) {
    this.#member = member
  }

  async room(signal: () => AbortSignal): Promise<void> {
    this.#pageSent ??= await this.#member.page(signal)
  }

  send(events: readonly LifecycleEvent[]): void {
    for (const event of events) this.#member.push('lifecycle', event.text)
    this.#pageSent?.()
    this.#pageSent = undefined
  }
}
