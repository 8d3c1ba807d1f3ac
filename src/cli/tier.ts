import { readFileSync } from 'node:fs'
import { ConfigError, loadConfig } from '../config.ts'
import { openDatabase } from '../db/database.ts'
import { StopStack } from '../lib/stopStack.ts'
import { openObjectStore } from '../objects/open.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import type { MoveProgress } from '../tiering/mover.ts'
import { TieringJob } from '../tiering/tieringJob.ts'

const USAGE = `npm run tier: moves the segments that are due now, once, by hand.

It does what nodes do by themselves, under the same lock, with the same environment variables (docs/configuration.md). A
segment is due when its end is older than the retention that the last node to start has set. Exit code 0 when all that
was due is moved; 1 when not, or when another node is moving segments now; 2 when the command or the configuration is
wrong. It may be interrupted at any moment: the next run goes on from there.
`

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const CLEAR_LINE = '\x1b[K'
const write = (text: string) => process.stdout.write(text)
const amount = (n: number) => n.toLocaleString('en')

async function tier(): Promise<void> {
  const config = loadConfig(process.env)
  const log = createLog('warn')
  const stack = new StopStack()
  try {
    const database = stack.add('database', await openDatabase(config.database, 1, log))
    await database.prepare(version)
    const store = stack.add('object store', await openObjectStore(config.archive, database.moves))
    const job = new TieringJob({
      url: database.tieringUrl,
      connectTimeoutMs: config.database.timeoutMs,
      store,
      intervalMs: config.tiering.flushIntervalMs,
      log,
      metrics: new Metrics(),
      ...(process.stdout.isTTY && { onProgress: showProgress }),
      onMoved: showMoved,
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void job.stop())
    const result = await job.pass()
    if (!result.ran) {
      write(
        result.why === 'held'
          ? 'Another node is moving segments now.\n'
          : 'This database user may not move segments: that takes a member of starcite_tiering.\n',
      )
      process.exitCode = 1
    } else if (result.moved.length === 0) write('Nothing is due.\n')
  } finally {
    await stack.stop()
  }
}

/** One line that is written over and over. */
function showProgress({ segment, events, bytes }: MoveProgress): void {
  write(`\r${segment}: ${amount(events)} events, ${amount(bytes)} bytes copied${CLEAR_LINE}`)
}

function showMoved({ segment, events, objects, bytes }: MoveProgress): void {
  if (process.stdout.isTTY) write(`\r${CLEAR_LINE}`)
  const inObjects = `${amount(objects)} object${objects === 1 ? '' : 's'}`
  write(`${segment}: ${amount(events)} events in ${inObjects}, ${amount(bytes)} bytes\n`)
}

const [argument] = process.argv.slice(2)
if (argument === '--help' || argument === '-h') write(USAGE)
else if (argument !== undefined) {
  process.stderr.write(`starcite tier: there is no option ${argument}\n\n${USAGE}`)
  process.exitCode = 2
} else
  tier().catch((error: unknown) => {
    process.stderr.write(`starcite tier: ${(error as Error).message}\n`)
    process.exit(error instanceof ConfigError ? 2 : 1)
  })
