import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import { LinkedAbort } from '../../src/lib/linkedAbort.ts'

const FOREVER_MS = 2 ** 30
const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length

describe('a linked abort', () => {
  it('is aborted with the first of its sources, with the reason of that one', () => {
    const [first, second] = [new AbortController(), new AbortController()]
    const linked = new LinkedAbort([first.signal, undefined, second.signal])

    second.abort('second')
    first.abort('first')

    expect(linked.signal.reason).to.equal('second')
  })

  it('is aborted from the start by a source that is', () => {
    const linked = new LinkedAbort([new AbortController().signal, AbortSignal.abort('before')])

    expect(linked.signal.reason).to.equal('before')
  })

  it('leaves its sources alone when it is aborted itself', () => {
    const source = new AbortController()

    new LinkedAbort([source.signal]).abort()

    expect(source.signal.aborted).to.equal(false)
  })

  it('rejects at its deadline with the reason of the deadline', async () => {
    const linked = new LinkedAbort([], { ms: 1, reason: () => new Error('too late') })

    const error = await linked.rejection().catch((cause: unknown) => cause)

    expect(error).to.have.property('message', 'too late')
  })

  it('rejects at once when it is aborted already', async () => {
    const linked = new LinkedAbort([AbortSignal.abort('before')])

    expect(await linked.rejection().catch((reason: unknown) => reason)).to.equal('before')
  })

  it('leaves no listener and no timer behind once it is released, and is not aborted any more', () => {
    const source = new AbortController()
    const before = timers()
    const linked = new LinkedAbort([source.signal], { ms: FOREVER_MS })

    linked.release()
    source.abort()

    expect(getEventListeners(source.signal, 'abort')).to.have.length(0)
    expect(timers()).to.equal(before)
    expect(linked.signal.aborted).to.equal(false)
  })

  it('causes no unhandled rejection when no caller waits for it any more', async () => {
    const linked = new LinkedAbort([])
    await Promise.race([linked.rejection(), Promise.resolve()])

    linked.abort('after the race')
    await new Promise((resolve) => setImmediate(resolve))
  })
})
