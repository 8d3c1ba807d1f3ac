import { SessionHandle as CoreSession } from './core/session.ts'
import { Outbox, type OutboxOptions } from './outbox/outbox.ts'
import type { AnyEvents } from './types.ts'

/** One session, by its id. Creating a handle sends no request. */
export class SessionHandle<Events = AnyEvents> extends CoreSession<Events> {
  /** Appends that survive lost responses, restarts of nodes, and, with a store, reloads. Close it when done. */
  outbox(options: OutboxOptions = {}): Outbox<Events> {
    return new Outbox(this.connections.http, this.path, options)
  }
}
