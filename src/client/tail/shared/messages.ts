import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'

/** Of the messages between tabs: tabs that run another build of the client speak only to those of theirs. */
export const PROTOCOL = 1

/** To the tab that leads, on the channel that all have. `n` is of the subscription. */
export type ToLeader =
  | { readonly at: 'ping' }
  | { readonly at: 'subscribe'; readonly n: number; readonly sessionId: string; readonly cursor: Cursor }
  | { readonly at: 'leave'; readonly n: number }
  | { readonly at: 'check' }
  /** So many characters of events were taken. */
  | { readonly at: 'took'; readonly chars: number }

/** To one tab, on a channel of its own; `leads` also to all. */
export type ToTab =
  | { readonly at: 'leads'; readonly heardAt: number }
  | {
      readonly at: 'joined'
      readonly n: number
      readonly position: number
      readonly transport: 'websocket' | 'sse'
    }
  | { readonly at: 'refused'; readonly n: number; readonly code: string; readonly message: string }
  | { readonly at: 'events'; readonly n: number; readonly first: number; readonly texts: readonly string[] }
  | { readonly at: 'known'; readonly n: number; readonly seq: number }
  | { readonly at: 'ended'; readonly n: number; readonly end: End }

export type OfTab = ToLeader & { readonly from: string }
export type OfLeader = ToTab & { readonly leader: string }

export const charsOf = (texts: readonly string[]): number => texts.reduce((sum, text) => sum + text.length, 0)
