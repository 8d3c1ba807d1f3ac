// What the package's `starcite/client/core` exports: `starcite/client` without the outbox and the lifecycle feed.
import { StarciteError, type StarciteErrorCode } from '../errors.ts'
import type { TokenSource } from '../http/tokens.ts'
import type { HistoryOptions, ListOptions } from '../paging.ts'
import type { Sharing } from '../tail/connections.ts'
import type { TailOptions, TailState } from '../tail/tail.ts'
import type * as types from '../types.ts'
import type { AppendOptions, SessionHandle } from './session.ts'
import { Starcite, type StarciteOptions } from './starcite.ts'

export type {
  AppendOptions,
  HistoryOptions,
  ListOptions,
  SessionHandle,
  Sharing,
  StarciteErrorCode,
  StarciteOptions,
  TailOptions,
  TailState,
  TokenSource,
}
export { Starcite, StarciteError }
export type Appended = types.Appended
export type BatchAppended = types.BatchAppended
export type NewEvent<Events = types.AnyEvents> = types.NewEvent<Events>
export type NewSession = types.NewSession
export type Session = types.Session
export type SessionEvent<Events = types.AnyEvents> = types.SessionEvent<Events>
export type SessionPatch = types.SessionPatch
