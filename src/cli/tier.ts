import { readFileSync } from 'node:fs'
import { ConfigError, loadConfig } from '../config.ts'
import { openDatabase } from '../db/database.ts'
import { openObjectStore } from '../objects/open.ts'
import { createLog } from '../ops/log.ts'
import { Metrics } from '../ops/metrics.ts'
import { writeSettings } from '../tiering/queries.ts'
import { TieringJob } from '../tiering/tieringJob.ts'

const USAGE = `npm run tier: moves the segments that are due now, once, by hand.

It does what nodes do by themselves, under the same lock and the same configuration (docs/configuration.md): a segment is
due when its end is older than STARCITE_HOT_RETENTION. Exit code 0 when all that was due is moved, 1 when not, 2 when the
configuration is wrong.
`

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const write = (text: string) => process.stdout.write(text)
const amount = (n: number) => n.toLocaleString('en')

async function tier(): Promise<void> {
  const config = loadConfig(process.env)
  const log = createLog('warn')
  const database = await openDatabase(config.database, 1, log)
  try {
    await database.prepare(version)
    await writeSettings(database.reads, config.database.segmentIntervalMs, config.tiering.hotRetentionMs)
    const store = await openObjectStore(config.archive, database.reads)
    const job = new TieringJob({
      url: database.directUrl,
      connectTimeoutMs: config.database.timeoutMs,
      store,
      intervalMs: config.tiering.flushIntervalMs,
      log,
      metrics: new Metrics(),
      ...(process.stdout.isTTY && {
        onProgress: ({ segment, events, bytes }) =>
          write(`\r${segment}: ${amount(events)} events, ${amount(bytes)} bytes copied\x1b[K`),
      }),
    })
    const result = await job.pass()
    if (process.stdout.isTTY) write('\r\x1b[K')
    if (!result.ran) {
      write('Another node is moving segments now.\n')
      process.exitCode = 1
    } else if (result.moved.length === 0) write('Nothing is due.\n')
    else
      for (const { segment, events, objects, bytes } of result.moved)
        write(`${segment}: ${amount(events)} events in ${amount(objects)} objects, ${amount(bytes)} bytes\n`)
    await store.stop()
  } finally {
    await database.stop()
  }
}

if (process.argv.includes('--help') || process.argv.includes('-h')) write(USAGE)
else
  tier().catch((error: unknown) => {
    process.stderr.write(`starcite tier: ${(error as Error).message}\n`)
    process.exit(error instanceof ConfigError ? 2 : 1)
  })
