import { loadConfig } from '../config.ts'
import { StopStack } from '../lib/stopStack.ts'
import { openObjectStore } from '../objects/open.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import type { MoveProgress } from '../tiering/archiver.ts'
import { TieringJob } from '../tiering/tieringJob.ts'
import { openExisting } from './database.ts'
import { amount, out, progress } from './terminal.ts'
import { version } from './version.ts'

/** Moves the segments that are due, once. Resolves with the exit code. */
export async function moveSegments(): Promise<number> {
  const config = loadConfig(process.env)
  const log = createLog('warn')
  const stack = new StopStack()
  const line = progress(process.stdout)
  try {
    const database = stack.add('database', await openExisting(config.database, log))
    await database.prepare(version)
    const store = stack.add('object store', await openObjectStore(config.archive, database.moves))
    const job = new TieringJob({
      get url() {
        return database.tieringUrl
      },
      connectTimeoutMs: config.database.timeoutMs,
      store,
      intervalMs: config.tiering.flushIntervalMs,
      retentionGraceMs: config.tiering.retentionGraceMs,
      log,
      metrics: new Metrics(),
      onProgress: ({ segment, events, bytes }) =>
        line.show(`${segment}: ${amount(events)} events, ${amount(bytes)} bytes copied`),
      onMoved: (moved) => {
        line.clear()
        showMoved(moved)
      },
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void job.stop())
    const result = await job.pass()
    if (!result.ran) out(`${WHY_NOT[result.why]}\n`)
    else if (result.moved.length === 0) out('Nothing is due.\n')
    return result.ran ? 0 : 1
  } finally {
    await stack.stop()
  }
}

const WHY_NOT = {
  held: 'Another node is moving segments now.',
  not_allowed: 'This database user may not move segments: that takes a member of starcite_tiering.',
}

function showMoved({ segment, events, objects, bytes, kept }: MoveProgress): void {
  const inObjects = `${amount(objects)} object${objects === 1 ? '' : 's'}`
  out(`${segment}: ${amount(events)} events in ${inObjects}, ${amount(bytes)} bytes\n`)
  if (kept > 0) out(`${segment}: ${amount(kept)} events of damaged sessions stay (starcite set-aside)\n`)
}
