import { expect } from 'chai'
import type { LifecycleEvent, LifecycleKind, PendingEvent, SessionEvent } from '../../src/client/entry.ts'

interface MyEvents {
  said: { text: string }
  moved: { by: number }
}

/** What a page shows. Its types are the test: `npm run typecheck` fails where the client's promise more, or less, than comes. */
function shown(event: SessionEvent<MyEvents>): string {
  // @ts-expect-error: a redacted event has no text
  const unchecked: string = event.type === 'said' ? event.payload.text : ''
  if (event.redacted) {
    // @ts-expect-error: nothing is left of its payload
    const left: string = event.payload.text
    return left ?? unchecked ?? 'erased'
  }
  return event.type === 'said' ? event.payload.text.trim() : event.payload.by.toFixed(0)
}

function told(event: LifecycleEvent): string {
  // @ts-expect-error: there is no such kind
  if (event.kind === 'session.creatd') return ''
  switch (event.kind) {
    case 'session.created':
      return event.created_at.slice(0, 10)
    case 'session.updated':
      return event.updated_at.slice(0, 10)
    case 'session.archived':
    case 'session.unarchived':
      return String(event.archived satisfies boolean)
    case 'session.appended':
      return event.last_seq.toFixed(0)
    case 'session.activated':
    case 'session.erased':
      return event.session_id
    default:
      return (event satisfies never as { kind: LifecycleKind }).kind
  }
}

const waiting = (event: PendingEvent<MyEvents>): string =>
  event.event.type === 'said' ? event.event.payload.text : event.state

const FIELDS = { seq: 1, actor: 'a', metadata: {}, refs: {}, inserted_at: 't', raw: '' }

describe('the types of the client', () => {
  it('tell redacted events from others, and kinds of the lifecycle feed from each other', () => {
    expect(shown({ ...FIELDS, type: 'said', payload: { text: ' hello ' } })).to.equal('hello')
    expect(shown({ ...FIELDS, type: 'said', redacted: true, payload: {} })).to.equal('erased')
    expect(told({ kind: 'session.appended', session_id: 's', tenant_id: 't', last_seq: 7 })).to.equal('7')
    expect(waiting).to.be.a('function')
  })
})
