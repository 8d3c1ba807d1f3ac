import { expect } from 'chai'
import { AHEAD, MAX_REST_MS, Pace, REST } from '../../src/db/pace.ts'

const EVENT_BYTES = 700

/** A database to which events come at a steady rate, reported once a second, and a job that reads from it. */
function copying({ appendsPerSecond = 0, readMs = 20, eventsPerRead = 2000 }) {
  let clock = 0
  let silentFrom = Number.POSITIVE_INFINITY
  const appending = () => Math.min(clock, silentFrom) / 1000
  const rests: number[] = []
  const pace = new Pace({
    appended: async () => ({
      events: Math.floor(appending()) * appendsPerSecond,
      bytes: Math.floor(appending() * appendsPerSecond * EVENT_BYTES),
    }),
    signal: new AbortController().signal,
    now: () => clock,
    wait: async (ms) => {
      rests.push(ms)
      clock += ms
    },
  })
  return {
    rests,
    begin: () => pace.begin(),
    /** Reads until the clock passes a time; returns the events read per second. */
    async until(ms: number): Promise<number> {
      const [start, before] = [clock, rests.length]
      let reads = 0
      for (; clock < start + ms; reads += 1) {
        clock += readMs
        await pace.rest(eventsPerRead, readMs)
      }
      rests.splice(0, before)
      return (reads * eventsPerRead * 1000) / (clock - start)
    },
    silence: () => {
      silentFrom = clock
    },
  }
}

describe('the pace of copying', () => {
  it('is full speed while there are few or no appends', async () => {
    for (const appendsPerSecond of [0, 50]) {
      const job = copying({ appendsPerSecond })
      await job.begin()
      expect(await job.until(10_000)).to.equal(100_000)
      expect(job.rests).to.deep.equal([])
    }
  })

  it('rests several times as long as it reads while others append, from the first tenths of a second', async () => {
    const job = copying({ appendsPerSecond: 2000 })
    await job.begin()
    await job.until(300)
    expect(await job.until(10_000)).to.be.within(100_000 / (REST + 1) - 2000, 100_000 / (REST + 1) + 2000)
    expect(Math.max(...job.rests)).to.equal(REST * 20)
  })

  it('stays ahead of what is appended, however much that is', async () => {
    for (const appendsPerSecond of [20_000, 40_000, 90_000]) {
      const job = copying({ appendsPerSecond })
      await job.begin()
      await job.until(4000)
      const least = Math.min(AHEAD * appendsPerSecond, 100_000)
      expect(await job.until(10_000), `${appendsPerSecond}/s`).to.be.within(0.95 * least, 100_000)
    }
  })

  it('rests longer where reads take longer, but sees soon that appends have ceased', async () => {
    const job = copying({ appendsPerSecond: 2000, readMs: 600 })
    await job.begin()
    await job.until(5000)
    expect(Math.max(...job.rests)).to.be.at.most(MAX_REST_MS)
  })

  it('is at full speed again a second after the last append', async () => {
    const job = copying({ appendsPerSecond: 2000 })
    await job.begin()
    await job.until(5000)
    job.silence()
    await job.until(1500)
    expect(await job.until(5000)).to.equal(100_000)
    expect(job.rests).to.deep.equal([])
  })
})
