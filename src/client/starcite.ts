import { Starcite as CoreStarcite } from './core/starcite.ts'
import { type LifecycleItem, type LifecycleOptions, lifecycle } from './lifecycle.ts'
import { SessionHandle } from './session.ts'
import type { AnyEvents } from './types.ts'

/**
 * A client of one Starcite server, for one principal. `Events` maps event types to their payloads:
 * `new Starcite<{ content: { text: string } }>(…)`. Calls reject with StarciteError.
 */
export class Starcite<Events = AnyEvents> extends CoreStarcite<Events> {
  /** A session by its id. Creating the handle sends no request. */
  override session(id: string): SessionHandle<Events> {
    return new SessionHandle(this.connections, id)
  }

  /** The lifecycle events of the tenant's sessions: created, updated, archived, appended to, erased. Needs a service token. */
  lifecycle(options: LifecycleOptions = {}): AsyncGenerator<LifecycleItem, void, undefined> {
    return lifecycle(this.connections.http, options)
  }
}
