import { loadEvents } from '../../audit/load/loadEvents.ts'
import { deleteExpired, unload } from '../../audit/load/queries.ts'
import type { Selection } from '../../audit/read/selection.ts'
import { amount, out } from '../terminal.ts'
import { Meter } from './meter.ts'
import { requireScope, withSources } from './sources.ts'

export async function loadSelected(selection: Selection, keepMs: number): Promise<void> {
  const meter = new Meter('loaded')
  const loaded = await withSources(async (sources) => {
    await requireScope(sources.db, selection)
    return loadEvents({ ...sources, selection, keepMs, onProgress: (it) => meter.show(it) })
  }).finally(() => meter.clear())
  out(
    `${amount(loaded.events)} cold events are in audit.events_loaded until ${loaded.expiresAt.slice(0, 19)}Z; ` +
      `${amount(loaded.read)} were read, in ${meter.seconds.toFixed(1)} s.\n`,
  )
}

/** Without a scope only those whose time is over. */
export async function unloadEvents(scope: { tenant?: string; session?: string } | undefined): Promise<void> {
  const deleted = await withSources(async ({ db, ownerDb }) => {
    if (scope !== undefined) await requireScope(db, scope)
    const expired = await deleteExpired(ownerDb)
    return expired + (scope === undefined ? 0 : await unload(ownerDb, scope))
  })
  out(`${amount(deleted)} copies were deleted.\n`)
}
