import { Appender } from './append/appender.ts'
import type { Config } from './config.ts'
import { openDatabase } from './db/database.ts'
import { newestMigration } from './db/migrate.ts'
import { checkpointGauges, gaugesOf } from './gauges.ts'
import { createApp, createOpsApp } from './http/app.ts'
import { warnOfOpenAccess } from './http/openAccess.ts'
import { RequestQuota } from './http/requestQuota.ts'
import { HttpServer } from './http/server.ts'
import { Sockets } from './http/transports/sockets.ts'
import { FairTurns } from './lib/fairTurns.ts'
import { Idleness } from './lib/idleness.ts'
import { MemoryBudget } from './lib/memoryBudget.ts'
import { StopStack } from './lib/stopStack.ts'
import { UnreadBudget } from './lib/unreadBudget.ts'
import { LifecycleFeed } from './lifecycle/feed.ts'
import { Sequencer } from './lifecycle/sequencer.ts'
import { Hub } from './live/hub.ts'
import type { Listener } from './live/listener.ts'
import { NotifyLag } from './live/notifyLag.ts'
import { openObjectStore } from './objects/open.ts'
import { Health } from './ops/health.ts'
import type { Log } from './ops/log.ts'
import { Metrics } from './ops/metrics.ts'
import { Erasures } from './sessions/erasure/erasures.ts'
import { Sessions } from './sessions/sessions.ts'
import { Cursors } from './tail/cursors.ts'
import { History } from './tail/history.ts'
import { EventLog } from './tail/log.ts'
import { MissingEvents } from './tail/missingEvents.ts'
import { TailQuota } from './tail/quota.ts'
import { Tails } from './tail/tail.ts'
import { ColdReader } from './tiering/cold/coldReader.ts'
import { PartitionCreator } from './tiering/partitionCreator.ts'
import { openAuthenticator } from './wiring/authenticator.ts'
import { openCheckpoints, openTiering } from './wiring/jobs.ts'
import { openListener, publish } from './wiring/notifications.ts'
import { drain, unlessAborted } from './wiring/shutdown.ts'

/** Joins that look a session up in Postgres at a time: fewer than the read connections, so that other requests find one free. */
const JOINS_AT_A_TIME = 4

export interface Service {
  /** The URL of the API, from this machine. */
  readonly url: string
  /** The data directory of the embedded Postgres; undefined with a database of one's own. */
  readonly embeddedDir: string | undefined
  /** Drains and stops, within the grace time. It may be called twice. */
  stop(): Promise<void>
}

/**
 * Starts a node: each part uses those before it, and they stop in reverse. Resolves when the node is ready. When a part cannot
 * start (db/database.ts and http/server.ts list the errors), or the signal is aborted, stops the others and rejects.
 */
export async function startService(
  config: Config,
  release: string,
  log: Log,
  signal: AbortSignal = new AbortController().signal,
  metrics = new Metrics(),
): Promise<Service> {
  const stack = new StopStack()
  try {
    warnOfOpenAccess(config, log)
    const health = new Health(config.listenerGraceMs)
    const version = {
      version: release,
      ...(config.commit !== undefined && { commit: config.commit }),
      node: process.versions.node,
      schema: await newestMigration(),
    }
    metrics.build(version)
    const status = { health, metrics, version }
    const database = stack.add(
      'database',
      await openDatabase(config.database, config.append.connections + 1, log),
    )
    const { reads, appends: appendDb } = database
    const { idleAfterMs, idleCheckMs } = config.database
    const idleness = new Idleness({ afterMs: idleAfterMs, checkMs: idleCheckMs })

    const hub = stack.add(
      'hub',
      new Hub({
        db: reads,
        log,
        metrics,
        ...config.tail,
        coldAt: (sid, seq) => cursors.coldAt(sid, seq),
      }),
    )
    database.onServerChanged(() => {
      hub.verifyAll()
      lifecycle.verifyAll()
    })
    const notifyLag = new NotifyLag((seconds) => metrics.notifyLag(seconds))
    const lifecycle = stack.add('lifecycle', new LifecycleFeed({ db: reads, log, metrics, ...config.tail }))
    const sequencer = stack.add(
      'sequencer',
      new Sequencer({
        db: reads,
        log,
        pollIntervalMs: config.tail.pollIntervalMs,
        isListening: () => listener.downForMs === 0 && !database.notifyQueue.isFull,
        onFeedsGrown: (feeds) => lifecycle.grown(feeds),
        idleness,
      }),
    )
    const appender = stack.add(
      'appender',
      new Appender({
        db: appendDb,
        ...config.append,
        timeoutMs: config.database.timeoutMs,
        log,
        metrics,
        latestTime: () => partitionCreator.latestTime,
        ensureSegments: () => partitionCreator.ensure(),
        onAppended: (request, rows) => {
          publish(hub, request, rows)
          const last = rows.at(-1)
          if (last?.outcome === 'appended') notifyLag.committed(last.sid, last.seq, last.insertedAt)
        },
      }),
    )
    const partitionCreator = stack.add(
      'segments',
      new PartitionCreator(
        reads,
        config.database.segmentIntervalMs,
        config.tiering.hotRetentionMs,
        log,
        idleness,
      ),
    )
    const sockets = new Sockets({
      ...config.tail,
      maxSockets: config.limits.sockets,
      drainSpreadMs: config.drainSpreadMs,
    })
    const store = stack.add('object store', await openObjectStore(config.archive, reads))
    const cold: ColdReader = stack.add(
      'cold reader',
      new ColdReader({ db: reads, store, cacheBytes: config.tiering.readCacheBytes, log, metrics, idleness }),
    )
    const jobs = { config, database, stack, log, metrics, idleness }
    const tiering = await openTiering(jobs)
    const checkpoints = await openCheckpoints(jobs)
    const listener: Listener = stack.add(
      'listener',
      openListener(database, { hub, cold, tiering, lifecycle, sequencer, notifyLag }, metrics, log, idleness),
    )
    const cursors: Cursors = new Cursors(reads, cold)
    const missing = new MissingEvents(reads, log, metrics)
    const arriving = new MemoryBudget(config.limits.bodyMemoryBytes)
    const answers = new MemoryBudget(config.limits.answerMemoryBytes)
    const unread = new UnreadBudget(config.limits.tailMemoryBytes)
    const services = {
      config,
      log,
      metrics,
      authenticator: openAuthenticator(config.auth, stack, metrics, log),
      appends: appender,
      sessions: new Sessions(reads, config.limits.sessionMetadataBytes, () => sequencer.changed()),
      erasures: new Erasures(reads, () => {
        tiering.wake()
        sequencer.changed()
      }),
      tails: new Tails(hub, new EventLog(reads, cold, metrics, missing), log, metrics),
      history: new History(reads, cold, hub, missing),
      cursors,
      idleness,
      lifecycle,
      sockets,
      arriving,
      answers,
      unread,
      joins: new FairTurns(JOINS_AT_A_TIME),
      tailQuota: new TailQuota(config.limits.tailsPerPrincipal),
      requestQuota: await RequestQuota.open(config.limits.requestsPerSecond),
    }

    const serving = { ...config.http, stallMs: config.tail.stallMs }
    const http = stack.add(
      'http',
      await HttpServer.start(createApp(services, status), config.port, config.host, {
        ...serving,
        onError: (code) => metrics.error(code),
        onDropped: () => metrics.connectionDropped(),
      }),
    )
    gaugesOf(metrics, {
      idleness,
      database,
      appender,
      hub,
      lifecycle,
      sockets,
      arriving,
      answers,
      unread,
      tiering,
      cold,
      http,
    })
    if (checkpoints) checkpointGauges(metrics, checkpoints)
    if (config.opsPort !== undefined)
      stack.add(
        'ops',
        await HttpServer.start(createOpsApp(services, status), config.opsPort, config.host, serving),
      )
    await unlessAborted(
      database.prepare(release).then(() => partitionCreator.start()),
      signal,
    )
    hub.start()
    listener.start()
    lifecycle.start()
    sequencer.start()
    tiering.start()
    checkpoints?.start()
    cold.start()
    database.notifyQueue.start(idleness)
    stack.add('idleness', idleness)
    idleness.start(
      () =>
        Object.values(sockets.counts).some((it) => it > 0) ||
        lifecycle.followers > 0 ||
        hub.tails > 0 ||
        appender.waiting.count > 0 ||
        sequencer.isBehind ||
        database.notifyQueue.isFull ||
        // Busy until the jobs have looked after the last request, and have nothing to move, erase or sign.
        tiering.lookedAt < idleness.lastRequestAt ||
        tiering.status.pendingEvents > 0 ||
        tiering.erasures.pending > 0 ||
        (checkpoints !== undefined && checkpoints.coveredAt < idleness.lastRequestAt),
    )
    health.running({
      // Probes come every second, and would wake an idle database.
      pingDatabase: async () => idleness.isIdle || reads.ping(),
      databaseFault: () => database.fault,
      listenerDownForMs: () => listener.downForMs,
      isNotifyQueueFull: () => database.notifyQueue.isFull,
    })

    let stopping: Promise<void> | undefined
    return {
      url: `http://${config.shownHost}:${http.port}`,
      embeddedDir: database.embeddedDir,
      stop: () => {
        database.draining()
        stopping ??= drain(config, health, http, sockets).then(() => stack.stop())
        return stopping
      },
    }
  } catch (cause) {
    await stack.stop().catch((error) => log.error({ err: error }, 'stopping after a failed start'))
    throw cause
  }
}
