import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Seconds, from a fast local commit to the storage timeout. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]

/**
 * What a node counts; docs/operations.md lists every name. One registry per node, so that several nodes can live in
 * one process. No label takes a value that a client chooses.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly #appends = this.#counter('starcite_events_append_total', 'Events committed by this node')
  readonly #batchSize = this.#histogram(
    'starcite_append_batch_events',
    'Events per append transaction',
    BATCH_BUCKETS,
  )
  readonly #batchSeconds = this.#histogram(
    'starcite_append_batch_seconds',
    'Time of one append transaction, as the node sees it',
    LATENCY_BUCKETS,
  )
  readonly #tailLag = this.#histogram(
    'starcite_tail_delivery_lag_seconds',
    'From the commit time of an event to its being handed to a live tail',
    LATENCY_BUCKETS,
  )
  readonly #reads = new Counter({
    name: 'starcite_replay_read_events_total',
    help: 'Events read for tails and history, by where they were',
    labelNames: ['tier'],
    registers: [this.registry],
  })
  readonly #listenerUp = new Gauge({
    name: 'starcite_listener_up',
    help: '1 while notifications arrive, 0 while tails go on by polling alone',
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
    'Passes of the tiering job that failed on this node',
  )
  readonly #archiveSeconds = this.#histogram(
    'starcite_archive_segment_seconds',
    'Time to move one segment',
    LATENCY_BUCKETS.map((it) => it * 60),
  )
  readonly #coldCache = new Counter({
    name: 'starcite_archive_read_cache_total',
    help: 'Look-ups of cold slices in the cache, by result',
    labelNames: ['result'],
    registers: [this.registry],
  })

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.registry] })
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.registry] })
  }

  /** A value that is read when somebody asks. */
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

  coldCache(hit: boolean): void {
    this.#coldCache.inc({ result: hit ? 'hit' : 'miss' })
  }
}
