// What the package's `starcite/client` exports: these names, and the types that they refer to.
import type { AppendOptions } from './core/session.ts'
import type { StarciteOptions } from './core/starcite.ts'
import { StarciteError, type StarciteErrorCode } from './errors.ts'
import type { TokenSource } from './http/tokens.ts'
import type { LifecycleItem, LifecycleOptions, LifecycleState } from './lifecycle.ts'
import { indexedDbStore } from './outbox/indexedDbStore.ts'
import type { Outbox, OutboxOptions } from './outbox/outbox.ts'
import type { PendingEvent } from './outbox/pending.ts'
import { localStorageStore, memoryStore, type OutboxStore } from './outbox/store.ts'
import type { HistoryOptions, ListOptions } from './paging.ts'
import type { SessionHandle } from './session.ts'
import { Starcite } from './starcite.ts'
import type { Sharing } from './tail/connections.ts'
import type { TailOptions, TailState } from './tail/tail.ts'
import type * as types from './types.ts'

export type {
  AppendOptions,
  HistoryOptions,
  LifecycleItem,
  LifecycleOptions,
  LifecycleState,
  ListOptions,
  Outbox,
  OutboxOptions,
  OutboxStore,
  PendingEvent,
  SessionHandle,
  Sharing,
  StarciteErrorCode,
  StarciteOptions,
  TailOptions,
  TailState,
  TokenSource,
}
export { indexedDbStore, localStorageStore, memoryStore, Starcite, StarciteError }
export type Appended = types.Appended
export type BatchAppended = types.BatchAppended
export type LifecycleEvent = types.LifecycleEvent
export type LifecycleKind = types.LifecycleKind
export type NewEvent<Events = types.AnyEvents> = types.NewEvent<Events>
export type NewSession = types.NewSession
export type Session = types.Session
export type SessionEvent<Events = types.AnyEvents> = types.SessionEvent<Events>
export type SessionPatch = types.SessionPatch
