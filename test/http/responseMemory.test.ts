import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import Koa from 'koa'
import { errorResponses } from '../../src/http/errors.ts'
import { MemoryBudget } from '../../src/lib/memoryBudget.ts'
import { createLog } from '../../src/ops/log.ts'
import { until } from '../support/until.ts'

describe('memory for answers', () => {
  let server: Server

  afterEach(() => {
    server.close()
  })

  it('is given back when the client went away while its answer was made', async () => {
    const answers = new MemoryBudget(1_000_000)
    const over: Promise<unknown>[] = []
    const app = new Koa()
    app.use((_, next) => {
      const done = next()
      over.push(done)
      return done
    })
    app.use(errorResponses(createLog('silent'), () => {}, answers))
    app.use(async (ctx) => {
      await once(ctx.res, 'close')
      ctx.body = 'x'.repeat(10_000)
    })
    server = createServer(app.callback()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo

    const asked = request({ host: '127.0.0.1', port }).on('error', () => {})
    asked.end()
    await until('the request is there', () => over.length > 0)
    asked.destroy()
    await over[0]

    expect(answers.usedBytes).to.equal(0)
  })
})
