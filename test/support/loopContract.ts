import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import { until } from './until.ts'

/** Stands where a part does its work: counts passes, and holds or fails them on demand. */
export class PassProbe {
  begun = 0
  succeeded = 0
  underWay = 0
  /** Passes at the same time, at most. */
  mostAtOnce = 0
  fails = false
  #held: Promise<void> | undefined

  async enter(): Promise<void> {
    this.begun += 1
    this.underWay += 1
    this.mostAtOnce = Math.max(this.mostAtOnce, this.underWay)
    try {
      await turn()
      await this.#held
      if (this.fails) throw new Error('failed on purpose')
      this.succeeded += 1
    } finally {
      this.underWay -= 1
    }
  }

  /** Passes wait from now on, until what this returns is called. */
  hold(): () => void {
    let resolve = () => {}
    this.#held = new Promise((release) => {
      resolve = release
    })
    return () => {
      this.#held = undefined
      resolve()
    }
  }
}

export interface LoopedPart {
  start(): unknown
  stop(): Promise<unknown>
  /** Has the next pass begin at once. */
  wake?(): void
  /** Undoes what opening it has set up. */
  close?(): void
}

export interface LoopContractOptions {
  /** A part that passes this often and calls `probe.enter` in each pass. */
  readonly open: (probe: PassProbe, intervalMs: number) => LoopedPart
  /** Whether passes can be had in a test: not where they are half a minute apart, and nothing wakes the part. */
  readonly passes?: boolean
  /** Whether the part has a wake. */
  readonly canWake?: boolean
  /** The part has an interval of its own, far longer than a test: only a wake ends its rests. */
  readonly isSlow?: boolean
}

const NEVER_MS = 2 ** 30
const ROUNDS = 20

/** Counts the timers that are set while it is installed, and neither over nor cleared. */
class TimerCount {
  readonly #set = new Set<unknown>()
  readonly #setTimeout = globalThis.setTimeout
  readonly #clearTimeout = globalThis.clearTimeout

  get left(): number {
    return this.#set.size
  }

  install(): void {
    const set = (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = this.#setTimeout(() => {
        this.#set.delete(timer)
        run(...args)
      }, ms)
      this.#set.add(timer)
      return timer
    }
    globalThis.setTimeout = Object.assign(set, this.#setTimeout) as unknown as typeof setTimeout
    globalThis.clearTimeout = (timer) => {
      this.#set.delete(timer)
      this.#clearTimeout(timer)
    }
  }

  uninstall(): void {
    globalThis.setTimeout = this.#setTimeout
    globalThis.clearTimeout = this.#clearTimeout
  }
}

const turns = async (count: number) => {
  for (let i = 0; i < count; i += 1) await turn()
}

/** A small generator of random numbers that gives the same ones in each run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

/** The contract of starting, waking and stopping that every part with a Loop keeps. */
export function loopContract(
  name: string,
  { open, passes = true, canWake = true, isSlow = false }: LoopContractOptions,
) {
  describe(`the loop contract: ${name}`, () => {
    let probe: PassProbe
    let part: LoopedPart
    let timers: TimerCount
    const random = Math.random

    const opened = (intervalMs: number): LoopedPart => {
      part = open(probe, intervalMs)
      return part
    }

    const wakeIfSlow = () => {
      if (isSlow) part.wake?.()
      return true
    }

    beforeEach(() => {
      probe = new PassProbe()
      timers = new TimerCount()
      timers.install()
      Math.random = () => 0 // the shortest back-off
    })
    afterEach(async () => {
      await part.stop()
      part.close?.()
      timers.uninstall()
      Math.random = random
    })

    it('stops without having been started, and more than once', async () => {
      opened(1)

      await Promise.all([part.stop(), part.stop()])
      await part.stop()

      expect(timers.left).to.equal(0)
    })

    it('stops while it starts, and begins no pass afterwards', async () => {
      opened(1)

      const starting = part.start()
      await part.stop()
      await starting
      const { begun } = probe
      await turns(20)

      expect([probe.begun, probe.underWay]).to.deep.equal([begun, 0])
      expect(timers.left).to.equal(0)
    })

    it('cuts a rest when it stops', async () => {
      opened(NEVER_MS)
      await part.start()
      await turns(5)

      await part.stop()

      expect(timers.left).to.equal(0)
    })

    if (!passes) return

    it('passes again and again, one pass at a time, however often it is started', async () => {
      opened(1)

      await part.start()
      await part.start()
      part.wake?.()
      await until('it has passed three times', () => wakeIfSlow() && probe.begun >= 3)

      expect(probe.mostAtOnce).to.equal(1)
    })

    it('waits for the pass under way when it stops, and begins no other', async () => {
      opened(1)
      await part.start()
      const release = probe.hold()
      part.wake?.()
      await until('a pass is under way', () => probe.underWay === 1)
      let hasStopped = false
      const stopping = part.stop().then(() => {
        hasStopped = true
      })
      await turns(10)
      const { begun } = probe

      expect(hasStopped && probe.underWay > 0).to.equal(false)
      release()
      await stopping
      await turns(10)

      expect([probe.begun, probe.underWay]).to.deep.equal([begun, 0])
    })

    if (canWake)
      it('keeps a wake that comes during a pass', async () => {
        opened(NEVER_MS)
        const release = probe.hold()
        part.start()
        part.wake?.()
        await until('a pass is under way', () => probe.underWay === 1)
        const { begun } = probe

        part.wake?.()
        release()

        await until('another pass has begun', () => probe.begun > begun)
      })

    it('tries again after a failure, and goes on', async () => {
      opened(1)
      await part.start()
      probe.fails = true
      const { begun } = probe
      part.wake?.()
      await until('two passes have failed', () => wakeIfSlow() && probe.begun >= begun + 2)

      probe.fails = false
      const { succeeded } = probe

      await until('a pass has succeeded', () => wakeIfSlow() && probe.succeeded > succeeded)
    })

    it('survives starts, wakes, failures and stops in any order, and leaves nothing behind', async () => {
      const next = seeded(13)
      for (let round = 0; round < ROUNDS; round += 1) {
        opened(1 + Math.floor(next() * 3))
        probe.fails = false
        const starting = Promise.allSettled([part.start()])
        for (let step = 0; step < 10; step += 1) {
          const dice = next()
          if (dice < 0.4) part.wake?.()
          else if (dice < 0.6) probe.fails = !probe.fails
          else await turns(1 + Math.floor(next() * 5))
        }
        probe.fails = false
        await Promise.all([part.stop(), ...(next() < 0.5 ? [part.stop()] : [])])
        await starting
        const { begun } = probe
        await turns(5)
        expect([probe.begun, probe.underWay, timers.left]).to.deep.equal([begun, 0, 0])
        part.close?.()
      }
      expect(probe.mostAtOnce).to.equal(1)
    })
  })
}
