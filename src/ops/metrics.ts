import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode } from '../protocol/errors.ts'

/** Seconds, from a fast local commit to the storage timeout. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** Seconds, up to the longest long-poll. */
const REQUEST_BUCKETS = [0.0025, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60]
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

/**
 * The metrics of a node; docs/operations.md lists them. Each node has a registry of its own, so that one process can run several
 * nodes. Clients cannot choose the value of a label.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly #appends = this.#counter('starcite_events_append_total', 'Events committed by this node')
  readonly #appendSeconds = this.#histogram(
    'starcite_append_seconds',
    'Time from a parsed append request to its result: the wait in the queue and the commit',
    LATENCY_BUCKETS,
  )
  readonly #batchSize = this.#histogram(
    'starcite_append_batch_events',
    'Events per append transaction',
    BATCH_BUCKETS,
  )
  readonly #batchSeconds = this.#histogram(
    'starcite_append_batch_seconds',
    'Duration of one append transaction, measured by the node',
    LATENCY_BUCKETS,
  )
  readonly #tailLag = this.#histogram(
    'starcite_tail_delivery_lag_seconds',
    'Time from the commit of an event to its delivery to a live tail',
    LATENCY_BUCKETS,
  )
  readonly #reads = new Counter({
    name: 'starcite_replay_read_events_total',
    help: 'Events read for tails and history, by tier',
    labelNames: ['tier'],
    registers: [this.registry],
  })
  readonly #tailFaults = this.#counter(
    'starcite_tail_faults_total',
    'Tails that an unexpected error ended (1011)',
  )
  readonly #historyDamaged = this.#counter(
    'starcite_history_damaged_total',
    'Reads that were refused because an event that must exist is missing in every tier',
  )
  readonly #historyChanged = this.#counter(
    'starcite_history_changed_total',
    'Sessions whose tails ended because the database went back behind events that they had sent',
  )
  readonly #notifyLag = this.#histogram(
    'starcite_notify_lag_seconds',
    'Time from the commit of an event by this node to the arrival of its notification, sampled',
    LATENCY_BUCKETS,
  )
  readonly #requests = new Histogram({
    name: 'starcite_http_request_seconds',
    help: 'Duration of HTTP requests, by path template, method and status class',
    labelNames: ['route', 'method', 'status'],
    buckets: REQUEST_BUCKETS,
    registers: [this.registry],
  })
  readonly #errors = new Counter({
    name: 'starcite_http_errors_total',
    help: 'Requests that were refused or failed, by error code',
    labelNames: ['code'],
    registers: [this.registry],
  })
  readonly #connectionsDropped = this.#counter(
    'starcite_http_connections_dropped_total',
    'Connections closed without a response because the limit of connections was reached',
  )
  readonly #listenerUp = new Gauge({
    name: 'starcite_listener_up',
    help: '1 while notifications arrive, 0 while tails rely on polling',
    registers: [this.registry],
  })

  readonly #archivedEvents = this.#counter(
    'starcite_archive_events_total',
    'Events moved to objects by this node',
  )
  readonly #archivedBytes = this.#counter(
    'starcite_archive_bytes_total',
    'Bytes of objects written by this node',
  )
  readonly #archiveFailures = this.#counter(
    'starcite_archive_failures_total',
    'Failed passes of the tiering job on this node',
  )
  readonly #archiveSeconds = this.#histogram(
    'starcite_archive_segment_seconds',
    'Time to move one segment',
    LATENCY_BUCKETS.map((it) => it * 60),
  )
  readonly #coldCache = new Counter({
    name: 'starcite_archive_read_cache_total',
    help: 'Lookups of cold slices in the cache, by result',
    labelNames: ['result'],
    registers: [this.registry],
  })
  readonly #erasures = new Counter({
    name: 'starcite_erasures_total',
    help: 'Erasures that this node has completed, by kind',
    labelNames: ['kind'],
    registers: [this.registry],
  })
  readonly #erasureSeconds = this.#histogram(
    'starcite_erasure_seconds',
    'Time from the request of an erasure to its completion',
    LATENCY_BUCKETS.map((it) => it * 60),
  )
  readonly #checkpointLeaves = this.#counter(
    'starcite_checkpoint_sessions_total',
    'Heads of sessions that checkpoints of this node have signed',
  )
  readonly #checkpointSeconds = this.#histogram(
    'starcite_checkpoint_seconds',
    'Time to take one checkpoint',
    LATENCY_BUCKETS.map((it) => it * 10),
  )
  readonly #checkpointFailures = this.#counter(
    'starcite_checkpoint_failures_total',
    'Checkpoints that failed on this node',
  )

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] })
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.registry] })
  }

  /** Registers a gauge whose value is read at each scrape. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read())
      },
    })
  }

  /** Registers a gauge with one value for each value of a label, read at each scrape. */
  gauges(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        for (const [value, number] of Object.entries(read())) this.set({ [label]: value }, number)
      },
    })
  }

  /** Registers the metrics of the process: event loop, memory, file descriptors, garbage collection. Call it once per process. */
  measureProcess(): void {
    collectDefaultMetrics({ register: this.registry })
  }

  build(version: Readonly<Record<string, string>>): void {
    new Gauge({
      name: 'starcite_build_info',
      help: 'Always 1; its labels have the release',
      labelNames: Object.keys(version),
      registers: [this.registry],
    }).set({ ...version }, 1)
  }

  request(labels: Readonly<Record<'route' | 'method' | 'status', string>>, seconds: number): void {
    this.#requests.observe(labels, seconds)
  }

  error(code: ErrorCode): void {
    this.#errors.inc({ code })
  }

  connectionDropped(): void {
    this.#connectionsDropped.inc()
  }

  append(seconds: number): void {
    this.#appendSeconds.observe(seconds)
  }

  appendBatch(events: number, seconds: number): void {
    this.#appends.inc(events)
    this.#batchSize.observe(events)
    this.#batchSeconds.observe(seconds)
  }

  read(tier: 'ring' | 'hot' | 'cold', events: number): void {
    this.#reads.inc({ tier }, events)
  }

  tailLag(seconds: number): void {
    this.#tailLag.observe(Math.max(0, seconds))
  }

  tailFault(): void {
    this.#tailFaults.inc()
  }

  historyDamaged(): void {
    this.#historyDamaged.inc()
  }

  historyChanged(): void {
    this.#historyChanged.inc()
  }

  notifyLag(seconds: number): void {
    this.#notifyLag.observe(seconds)
  }

  listenerUp(up: boolean): void {
    this.#listenerUp.set(up ? 1 : 0)
  }

  segmentMoved(events: number, bytes: number, seconds: number): void {
    this.#archivedEvents.inc(events)
    this.#archivedBytes.inc(bytes)
    this.#archiveSeconds.observe(seconds)
  }

  tieringFailed(): void {
    this.#archiveFailures.inc()
  }

  erased(kind: 'session' | 'event' | 'segment', seconds: number): void {
    this.#erasures.inc({ kind })
    this.#erasureSeconds.observe(seconds)
  }

  checkpointTaken(leaves: number, seconds: number): void {
    this.#checkpointLeaves.inc(leaves)
    this.#checkpointSeconds.observe(seconds)
  }

  checkpointFailed(): void {
    this.#checkpointFailures.inc()
  }

  coldCache(hit: boolean): void {
    this.#coldCache.inc({ result: hit ? 'hit' : 'miss' })
  }
}
