import { CheckpointJob } from '../audit/checkpoints/checkpointJob.ts'
import { openSigner } from '../audit/checkpoints/openSigner.ts'
import type { Config } from '../config.ts'
import type { Database } from '../db/database.ts'
import type { Idleness } from '../lib/idleness.ts'
import type { StopStack } from '../lib/stopStack.ts'
import { openObjectStore } from '../objects/open.ts'
import type { Log } from '../ops/log.ts'
import type { Metrics } from '../ops/metrics.ts'
import { TieringJob } from '../tiering/tieringJob.ts'

/** The parts that the jobs of a node use. Each job is added to the stack, with an object store of its own. */
export interface JobParts {
  readonly config: Config
  readonly database: Database
  readonly stack: StopStack
  readonly log: Log
  readonly metrics: Metrics
  readonly idleness: Idleness
}

export async function openTiering({
  config,
  database,
  stack,
  log,
  metrics,
  idleness,
}: JobParts): Promise<TieringJob> {
  const store = await openObjectStore(config.archive, database.moves)
  return stack.add(
    'tiering',
    new TieringJob({
      get url() {
        return database.tieringUrl
      },
      connectTimeoutMs: config.database.timeoutMs,
      store: stack.add('object store of tiering', store),
      intervalMs: config.tiering.flushIntervalMs,
      retentionGraceMs: config.tiering.retentionGraceMs,
      log,
      metrics,
      idleness,
    }),
  )
}

/** Starts the checkpoint job; undefined when no signing key is configured. */
export async function openCheckpoints({
  config,
  database,
  stack,
  log,
  metrics,
  idleness,
}: JobParts): Promise<CheckpointJob | undefined> {
  const signer = await openSigner(config.checkpoints)
  if (signer === undefined) return undefined
  const store = await openObjectStore(config.archive, database.moves)
  return stack.add(
    'checkpoints',
    new CheckpointJob({
      url: database.tieringUrl,
      connectTimeoutMs: config.database.timeoutMs,
      store: stack.add('object store of checkpoints', store),
      signer,
      intervalMs: config.checkpoints.intervalMs,
      log,
      metrics,
      idleness,
    }),
  )
}
