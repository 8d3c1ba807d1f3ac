import Router from '@koa/router'
import { answerCalls } from '../calls.ts'
import { listen, readJson } from './listen.ts'

// The floor: what Koa costs before anything is stored. It reads and parses the same body and answers the same shape.
const router = new Router()
router.post('/v1/sessions/:id/append', async (ctx) => {
  await readJson(ctx.req)
  ctx.status = 201
  ctx.body = { seq: 1, last_seq: 1, deduped: false, cursor: 1, committed_cursor: 1 }
})

const handlers = { listen: () => listen(router) }
export type FloorHandlers = typeof handlers

answerCalls(handlers)
