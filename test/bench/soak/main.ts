import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { StopStack } from '../../../src/lib/stopStack.ts'
import { Lab, query } from '../lab.ts'
import { describeMachine } from '../machine.ts'
import { StarciteNode } from '../node.ts'
import { type Flatness, flatness, type Tolerance, troughs } from './flatness.ts'
import { SoakLoad } from './load.ts'
import { type Sample, takeSample } from './samples.ts'

const USAGE = `npm run soak -- [options]

  --minutes N    how long (15); the first fifth, at least five minutes, is warm-up and is not judged
  --rate N       appends a second (200)
  --json PATH    where the figures go (docs/bench/soak.json)

Fails when memory, file descriptors or event-loop lag of the node, or the memory of Postgres, are not flat.`

const SAMPLE_EVERY_MS = 5000
/** Of the run, and at least this long: caches fill, and V8 settles on a size of its heap. */
const WARM_UP_SHARE = 0.2
const WARM_UP_MS = 300_000
/** Samples to one trough of the heap: a minute has seen a full collection. */
const TROUGH_SAMPLES = 12
const MB = 1024 * 1024

/** Short, so that a run moves many segments; bounds that are reached within the warm-up. */
const NODE_SETTINGS = {
  STARCITE_SEGMENT_INTERVAL: '15s',
  STARCITE_HOT_RETENTION: '15s',
  STARCITE_ARCHIVE_ADAPTER: 'postgres',
  STARCITE_ARCHIVE_FLUSH_INTERVAL_MS: '1000',
  STARCITE_ARCHIVE_READ_CACHE_MAX_SIZE: '8MB',
  // Each new segment costs each connection some memory in Postgres, until the node replaces it.
  STARCITE_CONNECTION_LIFETIME: '1m',
  DB_POOL_SIZE: '6',
}
const POSTGRES_SETTINGS = { shared_buffers: '32MB', max_wal_size: '128MB', min_wal_size: '64MB' }

/** What is judged, and how far the line through its samples may rise from the end of the warm-up to the end. */
const FIGURES: readonly {
  readonly name: string
  readonly unit: string
  readonly of: (samples: readonly Sample[]) => number[]
  readonly tolerance: Tolerance
}[] = [
  {
    name: 'node, resident memory',
    unit: 'MB',
    of: (samples) => samples.map(({ rss }) => rss / MB),
    tolerance: { share: 0.1, amount: 10 },
  },
  {
    name: 'node, heap after collections',
    unit: 'MB',
    of: (samples) =>
      troughs(
        samples.map(({ heapUsed }) => heapUsed / MB),
        TROUGH_SAMPLES,
      ),
    tolerance: { share: 0.1, amount: 4 },
  },
  {
    name: 'node, memory outside the heap',
    unit: 'MB',
    of: (samples) =>
      troughs(
        samples.map(({ external }) => external / MB),
        TROUGH_SAMPLES,
      ),
    tolerance: { share: 0.1, amount: 4 },
  },
  {
    name: 'node, file descriptors',
    unit: '',
    of: (samples) => samples.map(({ files }) => files),
    tolerance: { share: 0.02, amount: 3 },
  },
  {
    name: 'node, event-loop lag, p99',
    unit: 'ms',
    of: (samples) => samples.map(({ loopLagMs }) => loopLagMs),
    tolerance: { share: 1, amount: 20 }, // the machine's other work shows here first
  },
  {
    name: 'Postgres, private memory of all processes',
    unit: 'MB',
    of: (samples) => samples.map(({ postgres }) => postgres / MB),
    tolerance: { share: 0.1, amount: 10 },
  },
]

const say = (message: string) => process.stderr.write(`${message}\n`)

interface Options {
  readonly minutes: number
  readonly rate: number
  readonly json: string
}

function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: 'string', default: '15' },
      rate: { type: 'string', default: '200' },
      json: { type: 'string', default: 'docs/bench/soak.json' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const [minutes, rate] = [Number(values.minutes), Number(values.rate)]
  if (!(minutes > 5)) throw new Error(`--minutes must be a number above 5; it is ${values.minutes}`)
  if (!(rate > 0)) throw new Error(`--rate must be a number above 0; it is ${values.rate}`)
  return { minutes, rate, json: values.json }
}

async function soak({ minutes, rate, json }: Options, stack: StopStack, signal: AbortSignal) {
  const lab = stack.add('lab', new Lab({ profileDir: undefined, settings: POSTGRES_SETTINGS }))
  const postgres = await lab.postgres()
  const databaseUrl = await lab.database('soak')
  const probe = new URL('probe.mjs', import.meta.url)
  const node = stack.add('node', await StarciteNode.start({ databaseUrl, settings: NODE_SETTINGS, probe }))
  const load = stack.add('load', new SoakLoad(node.port, rate))
  await load.start()

  const samples: Sample[] = []
  const count = Math.round((minutes * 60_000) / SAMPLE_EVERY_MS)
  const started = Date.now()
  while (samples.length < count && !signal.aborted && load.faults.length === 0) {
    const due = started + (samples.length + 1) * SAMPLE_EVERY_MS
    await sleep(Math.max(0, due - Date.now()), undefined, { signal }).catch(() => {})
    samples.push(await takeSample(node, postgres.pid))
    if (samples.length % 12 === 0) say(`${samples.length / 12} min: ${load.appended} events`)
  }
  await load.stop()
  signal.throwIfAborted()
  const [moved] = await query(
    databaseUrl,
    `select count(*)::int as segments, coalesce(sum(g.events), 0)::int as events
       from starcite.segments g where g.state in ('moved', 'dropped')`,
  )

  const warmUpMs = Math.max(WARM_UP_SHARE * minutes * 60_000, WARM_UP_MS)
  const judged = samples.slice(Math.round(warmUpMs / SAMPLE_EVERY_MS))
  const figures = FIGURES.map(({ name, unit, of, tolerance }) => ({
    name,
    unit,
    ...flatness(of(judged), tolerance),
  }))
  const did = { appended: load.appended, delivered: load.delivered, tails: load.tailsOpened, moved }
  console.log(render(figures))
  console.log(
    `\n${minutes} minutes, of which the last ${Math.round(minutes - warmUpMs / 60_000)} are judged: ` +
      `${did.appended} events appended, ${did.delivered} delivered to ${did.tails} tails, ` +
      `${moved?.events} events in ${moved?.segments} segments moved to cold storage.`,
  )
  await mkdir(path.dirname(json), { recursive: true })
  const machine = await describeMachine(postgres.url)
  const result = {
    machine,
    minutes,
    rate,
    ...did,
    faults: load.faults,
    figures,
    samples: samples.map(rounded),
  }
  await writeFile(json, `${JSON.stringify(result, null, 1)}\n`)
  for (const fault of load.faults.slice(0, 10)) console.log(`FAULT  ${fault}`)
  return load.faults.length === 0 && figures.every(({ isFlat }) => isFlat)
}

function render(figures: readonly (Flatness & { name: string; unit: string })[]): string {
  const lines = [
    ['', 'mean', 'drift', 'allowed', ''],
    ...figures.map(({ name, unit, mean, drift, allowed, isFlat }) => [
      name,
      ...[mean, drift, allowed].map((value) => `${value.toFixed(1)} ${unit}`.trim()),
      isFlat ? 'flat' : 'NOT FLAT',
    ]),
  ]
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) =>
      line
        .map((cell, i) => (i === 0 || i === 4 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const rounded = ({ loopLagMs, ...rest }: Sample) => ({ ...rest, loopLagMs: Math.round(loopLagMs * 10) / 10 })

const stack = new StopStack()
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => interrupted.abort(new Error(`stopped by ${signal}`)))
try {
  if (process.platform !== 'linux') throw new Error('memory and file descriptors are read from /proc')
  const isFlat = await soak(readOptions(process.argv.slice(2)), stack, interrupted.signal)
  process.exitCode = isFlat ? 0 : 1
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.exitCode = 1
} finally {
  await stack.stop()
}
