import { Command } from 'commander'
import type { MoveProgress } from '../../tiering/archiver.ts'
import { EXIT, setExitCode } from '../exit.ts'
import { amount, out, progress } from '../terminal.ts'
import { version } from '../version.ts'
import { withDatabase } from '../withDatabase.ts'

export function tierCommand(): Command {
  return new Command('tier')
    .description('Move the segments that are due to cold storage now, once.')
    .addHelpText(
      'after',
      `
Nodes do the same by themselves; the command takes their lock, and uses their environment. A segment is due when its end
is older than the retention that the last node to start has set. Exit code 1 when not all was moved, or when a node is
moving segments now. The command may be interrupted at any moment: the next run continues.`,
    )
    .action(moveSegments)
}

async function moveSegments(): Promise<void> {
  const [{ openObjectStore }, { Metrics }, { TieringJob }] = await Promise.all([
    import('../../objects/open.ts'),
    import('../../ops/metrics.ts'),
    import('../../tiering/tieringJob.ts'),
  ])
  const line = progress(process.stdout)
  await withDatabase('warn', async ({ config, log, database, stack }) => {
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
        printMoved(moved)
      },
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void job.stop())
    const result = await job.pass()
    if (!result.ran) {
      out(`${WHY_NOT[result.why]}\n`)
      setExitCode(EXIT.failed)
    } else if (result.moved.length === 0) out('No segment is due.\n')
  })
}

const WHY_NOT = {
  held: 'Another node is moving segments now.',
  not_allowed: 'This database user may not move segments: that needs a member of starcite_tiering.',
}

function printMoved({ segment, events, objects, bytes, kept }: MoveProgress): void {
  const inObjects = `${amount(objects)} object${objects === 1 ? '' : 's'}`
  out(`${segment}: ${amount(events)} events in ${inObjects}, ${amount(bytes)} bytes\n`)
  if (kept > 0) out(`${segment}: ${amount(kept)} events of damaged sessions stay (starcite set-aside)\n`)
}
