import { Appender } from './append/appender.ts'
import type { AppendRequest } from './append/newEvent.ts'
import type { OutcomeRow } from './append/queries.ts'
import { CheckpointJob } from './audit/checkpoints/checkpointJob.ts'
import { openSigner } from './audit/checkpoints/openSigner.ts'
import { type Authenticator, NO_AUTHENTICATION } from './auth/authenticator.ts'
import { claimNames } from './auth/claimNames.ts'
import { JwtAuthenticator } from './auth/jwtAuthenticator.ts'
import type { Config } from './config.ts'
import { type Database, openDatabase } from './db/database.ts'
import { newestMigration } from './db/migrate.ts'
import { checkpointGauges, gaugesOf, measureKeys } from './gauges.ts'
import { createApp, createOpsApp } from './http/app.ts'
import { warnOfOpenDoor } from './http/openDoor.ts'
import { RequestQuota } from './http/requestQuota.ts'
import { HttpServer } from './http/server.ts'
import { Sockets } from './http/transports/sockets.ts'
import { pause } from './lib/backoff.ts'
import { FairTurns } from './lib/fairTurns.ts'
import { Idleness } from './lib/idleness.ts'
import { LinkedAbort } from './lib/linkedAbort.ts'
import { MemoryBudget } from './lib/memoryBudget.ts'
import { StopStack } from './lib/stopStack.ts'
import { UnreadBudget } from './lib/unreadBudget.ts'
import { LifecycleFeed } from './lifecycle/feed.ts'
import { Sequencer } from './lifecycle/sequencer.ts'
import { Hub } from './live/hub.ts'
import { Listener } from './live/listener.ts'
import { NotifyLag } from './live/notifyLag.ts'
import { openObjectStore } from './objects/open.ts'
import { Health } from './ops/health.ts'
import type { Log } from './ops/log.ts'
import { Metrics } from './ops/metrics.ts'
import { type RenderedEvent, renderEvent } from './protocol/event.ts'
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
import { TieringJob } from './tiering/tieringJob.ts'

/** Joins that have Postgres look a session up: less than it has connections for reading, so that others find one free. */
const JOINS_AT_A_TIME = 4

export interface Service {
  /** Where the API is, from this machine. */
  readonly url: string
  /** Where the embedded Postgres keeps its data; undefined with a database of one's own. */
  readonly embeddedDir: string | undefined
  /** Drains and stops, within the grace time. May be called twice. */
  stop(): Promise<void>
}

/**
 * Puts a node together: starts each part on those before it, and stops them in reverse. Resolves when the node is
 * ready. Rejects, with everything stopped again, when it cannot be (see db/database.ts and http/server.ts for how), or
 * when the signal is aborted before.
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
    warnOfOpenDoor(config, log)
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
        onPlaced: (feeds) => lifecycle.grown(feeds),
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
    const tiering = stack.add(
      'tiering',
      new TieringJob({
        get url() {
          return database.tieringUrl
        },
        connectTimeoutMs: config.database.timeoutMs,
        store: stack.add('object store of tiering', await openObjectStore(config.archive, database.moves)),
        intervalMs: config.tiering.flushIntervalMs,
        retentionGraceMs: config.tiering.retentionGraceMs,
        log,
        metrics,
        idleness,
      }),
    )
    const signer = await openSigner(config.checkpoints)
    const checkpoints =
      signer &&
      stack.add(
        'checkpoints',
        new CheckpointJob({
          url: database.tieringUrl,
          connectTimeoutMs: config.database.timeoutMs,
          store: stack.add(
            'object store of checkpoints',
            await openObjectStore(config.archive, database.moves),
          ),
          signer,
          intervalMs: config.checkpoints.intervalMs,
          log,
          metrics,
          idleness,
        }),
      )
    const listener: Listener = stack.add(
      'listener',
      listen(database, { hub, cold, tiering, lifecycle, sequencer, notifyLag }, metrics, log, idleness),
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
      requestQuota:
        config.limits.requestsPerSecond > 0 ? new RequestQuota(config.limits.requestsPerSecond) : undefined,
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
        // What was last asked for has been looked at, and there is nothing to be moved, erased or signed.
        tiering.lookedAt < idleness.lastRequestAt ||
        tiering.status.pendingEvents > 0 ||
        tiering.erasures.pending > 0 ||
        (checkpoints !== undefined && checkpoints.coveredAt < idleness.lastRequestAt),
    )
    health.running({
      // Probes come every second, and would wake it.
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

function openAuthenticator(
  { jwt }: Config['auth'],
  stack: StopStack,
  metrics: Metrics,
  log: Log,
): Authenticator {
  if (jwt === undefined) return NO_AUTHENTICATION
  const { jwksUrl, refreshMs, maxAgeMs, preset, claims, ...options } = jwt
  const names = claimNames(preset, claims)
  const authenticator = stack.add(
    'authenticator',
    new JwtAuthenticator({ ...options, names, keys: { url: jwksUrl, refreshMs, maxAgeMs }, log }),
  )
  measureKeys(metrics, authenticator.keys)
  authenticator.start()
  return authenticator
}

/** What is told of notifications. */
interface Hinted {
  readonly hub: Hub
  readonly lifecycle: LifecycleFeed
  readonly sequencer: Sequencer
  readonly cold: ColdReader
  readonly tiering: TieringJob
  readonly notifyLag: NotifyLag
}

function listen(
  database: Database,
  { hub, cold, tiering, lifecycle, sequencer, notifyLag }: Hinted,
  metrics: Metrics,
  log: Log,
  idleness: Idleness,
): Listener {
  /** Notifications may have been missed. */
  const checkAll = () => {
    for (const it of [hub, lifecycle, sequencer, cold]) it.checkAll()
  }
  const listener = new Listener({
    get url() {
      return database.directUrl
    },
    log,
    notify: (channel, payload) => database.notify(channel, payload),
    idleness,
    onHead: (sid, lastSeq, epoch) => {
      notifyLag.notified(sid, lastSeq)
      hub.hint(sid, lastSeq, epoch)
      sequencer.moved(sid)
      if (epoch === undefined) return
      cold.forget(sid)
      tiering.wake() // perhaps an erasure that SQL asked for
    },
    onFeeds: (feeds) => lifecycle.grown(feeds),
    onConnected: () => {
      metrics.listenerUp(true)
      // A pooler may have led the node to another server meanwhile.
      hub.verifyAll()
      lifecycle.verifyAll()
      checkAll()
    },
    onDisconnected: () => metrics.listenerUp(idleness.isIdle), // what is not wanted is not missing
  })
  database.onPrimaryMoved(() => listener.renew())
  database.notifyQueue.onRoom(checkAll)
  return listener
}

/** A node's own commits reach its tails without a way through Postgres. */
function publish(hub: Hub, request: AppendRequest, rows: readonly OutcomeRow[]): void {
  const last = rows.at(-1)
  if (last === undefined) return
  hub.appended(last.sid, last.lastSeq, () =>
    rows.flatMap((row, i): RenderedEvent[] => {
      const event = request.events[i]
      return event && row.outcome === 'appended'
        ? [renderEvent({ ...event, seq: row.seq, insertedAt: row.insertedAt })]
        : []
    }),
  )
}

/** What is under way when the signal is aborted is left to end by itself. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const starting = new LinkedAbort([signal])
  const stopped = starting.rejection().catch((cause: unknown) => {
    throw new Error('the node was stopped before it was ready', { cause })
  })
  await Promise.race([work, stopped]).finally(() => starting.release())
}

/** Out of the load balancer, then no new connections, requests under way answered, sockets sent away; then it may stop. */
async function drain(config: Config, health: Health, http: HttpServer, sockets: Sockets): Promise<void> {
  health.draining()
  await pause(config.drainDelayMs)
  const grace = new LinkedAbort([], { ms: config.shutdownGraceMs })
  await Promise.race([Promise.all([http.drain(), sockets.drain()]), grace.rejection().catch(() => {})])
  grace.release()
}
