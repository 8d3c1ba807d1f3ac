import { setMaxListeners } from 'node:events'

/** A signal that the first Ctrl-C or SIGTERM aborts. The second one ends the process. */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal) // every wait of the command listens to it
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => controller.abort(new Error('interrupted')))
  return controller.signal
}
