import type { Suite } from 'mocha'

type Stop = () => unknown
/** Many times what a server, a browser or a database takes to start. */
const START_TIMEOUT_MS = 180_000

type HasStop = { stop(): unknown } | { close(): unknown } | { end(): unknown } | { drop(): unknown }

/**
 * Starts something before the tests of the describe block that it is called in, and stops it after them. Several are
 * started in the order of the calls; the newest stops first, after the block's own hooks. What it returns is the started
 * thing itself, for hooks and tests: it fails when used earlier.
 */
export function use<T extends object>(start: () => Promise<T>, stop: (started: T) => unknown = stopped): T {
  const [started, set] = later<T>()
  before('start what the tests use', async function () {
    this.timeout(START_TIMEOUT_MS)
    const value = await start()
    set(value)
    stopsOf(suiteOf(this)).push(() => stop(value))
  })
  return started
}

/** As `use`, but created again for each test. */
export function useEach<T extends object>(
  start: () => Promise<T>,
  stop: (started: T) => unknown = stopped,
): T {
  const [started, set] = later<T>()
  let stops: Stop[]
  before('prepare what each test uses', function () {
    stops = stopsOfEach(suiteOf(this))
  })
  beforeEach('start what the test uses', async function () {
    this.timeout(START_TIMEOUT_MS)
    const value = await start()
    set(value)
    stops.push(() => stop(value))
  })
  return started
}

const stopsOf = stopsBy((suite, run) => suite.afterAll('stop what the tests used', run))
const stopsOfEach = stopsBy((suite, run) => suite.afterEach('stop what the test used', run))

/** The list of each suite. Its hook is added when the suite runs, so it is the suite's last. */
function stopsBy(addHook: (suite: Suite, run: () => Promise<void>) => void): (suite: Suite) => Stop[] {
  const lists = new WeakMap<Suite, Stop[]>()
  return (suite) => {
    const known = lists.get(suite)
    if (known !== undefined) return known
    const stops: Stop[] = []
    lists.set(suite, stops)
    addHook(suite, () => stopAll(stops))
    return stops
  }
}

/** Each is stopped, even when another fails to stop. */
async function stopAll(stops: Stop[]): Promise<void> {
  const failures: unknown[] = []
  for (const stop of stops.splice(0).reverse())
    try {
      await stop()
    } catch (cause) {
      failures.push(cause)
    }
  if (failures.length > 0) throw failures[0]
}

function suiteOf({ test }: Mocha.Context): Suite {
  if (test?.parent === undefined) throw new Error('a hook outside a suite')
  return test.parent
}

function stopped(started: object): unknown {
  const value = started as Partial<Record<'stop' | 'close' | 'end' | 'drop', () => unknown>> & HasStop
  for (const method of ['stop', 'close', 'end', 'drop'] as const)
    if (typeof value[method] === 'function') return value[method]()
  throw new Error('use() of something without stop, close, end or drop: name how it is stopped')
}

/** An object that passes everything on to one that is set later. */
function later<T extends object>(): [started: T, set: (value: T) => void] {
  let value: T | undefined
  const target = (): T => {
    if (value === undefined) throw new Error('used before it was started: only hooks and tests may use it')
    return value
  }
  const started = new Proxy({} as T, {
    get: (_, key) => {
      const member = Reflect.get(target(), key, value)
      return typeof member === 'function' ? member.bind(value) : member
    },
    set: (_, key, to) => Reflect.set(target(), key, to, value),
    has: (_, key) => key in target(),
    getPrototypeOf: () => Reflect.getPrototypeOf(target()),
  })
  return [
    started,
    (to) => {
      value = to
    },
  ]
}
