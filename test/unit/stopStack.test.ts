import { expect } from 'chai'
import { StopStack } from '../../src/lib/stopStack.ts'

describe('the stop stack', () => {
  /** A part that notes when it stops, after a turn of the event loop. */
  const part = (name: string, stopped: string[], failure?: Error) => ({
    stop: async () => {
      stopped.push(`${name} stops`)
      await new Promise((resolve) => setImmediate(resolve))
      if (failure) throw failure
      stopped.push(`${name} stopped`)
    },
  })

  it('stops the newest first, one after the other', async () => {
    const stopped: string[] = []
    const stack = new StopStack()
    stack.add('database', part('database', stopped))
    stack.add('server', part('server', stopped))

    await stack.stop()

    expect(stopped).to.deep.equal(['server stops', 'server stopped', 'database stops', 'database stopped'])
  })

  it('hands back what it was given', () => {
    const part = { stop: () => {}, name: 'it' }

    expect(new StopStack().add('it', part)).to.equal(part)
  })

  it('stops each part once, at any number of calls', async () => {
    const stopped: string[] = []
    const stack = new StopStack()
    stack.add('a', part('a', stopped))

    await Promise.all([stack.stop(), stack.stop()])
    await stack.stop()

    expect(stopped).to.deep.equal(['a stops', 'a stopped'])
  })

  it('stops the rest when a part fails, and then says which one did', async () => {
    const stopped: string[] = []
    const stack = new StopStack()
    stack.add('first', part('first', stopped))
    stack.add('broken', part('broken', stopped, new Error('the cause')))
    stack.add('thrower', {
      stop: () => {
        throw new Error('at once')
      },
    })

    const error = await stack.stop().catch((error: AggregateError) => error)

    expect(stopped).to.deep.equal(['broken stops', 'first stops', 'first stopped'])
    const errors = (error as AggregateError).errors as Error[]
    expect(errors.map((error) => error.message)).to.deep.equal([
      'stopping thrower failed',
      'stopping broken failed',
    ])
    expect((errors[1]!.cause as Error).message).to.equal('the cause')
  })

  it('has nothing to do when nothing was started', async () => {
    await new StopStack().stop()
  })
})
