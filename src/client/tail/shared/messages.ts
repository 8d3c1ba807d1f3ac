import type { Cursor } from '../cursor.ts'
import type { End } from '../link.ts'

/** The version of the messages between tabs. Tabs with different versions form groups of their own. */
export const PROTOCOL = 1

/** A message to the leading tab, on the channel of all tabs. `n` is the number of the subscription. */
export type ToLeader =
  | { readonly at: 'ping' }
  | { readonly at: 'subscribe'; readonly n: number; readonly sessionId: string; readonly cursor: Cursor }
  | { readonly at: 'leave'; readonly n: number }
  | { readonly at: 'check' }
  /** Acknowledges this many characters of events. */
  | { readonly at: 'took'; readonly chars: number }

/** A message to one tab, on its own channel; `leads` also goes to all. */
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
