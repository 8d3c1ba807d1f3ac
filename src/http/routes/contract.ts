import type Router from '@koa/router'
import { answerJson } from '../context.ts'
import { asyncApi } from '../contract/asyncapi.ts'
import { ContractDocument } from '../contract/document.ts'
import { openApi } from '../contract/openapi.ts'
import { OPERATIONS } from '../contract/operations.ts'

/** Long enough to spare a page of documentation its reloads; a new release is seen soon. */
const MAX_AGE_SECONDS = 300

/** The contract for machines, open to everybody. */
export function contractRoutes(router: Router, release: string): void {
  for (const [path, document] of [
    ['/openapi.json', new ContractDocument(() => openApi(OPERATIONS, release))],
    ['/asyncapi.json', new ContractDocument(() => asyncApi(release))],
  ] as const) {
    router.get(path, (ctx) => {
      ctx.set('ETag', document.etag)
      ctx.set('Cache-Control', `public, max-age=${MAX_AGE_SECONDS}`)
      if (isKnown(ctx.get('If-None-Match'), document.etag)) ctx.status = 304
      else answerJson(ctx, 200, document.text)
    })
  }
}

/** RFC 9110, section 13.1.2. Koa's own check gives up at `Cache-Control: no-cache`, which `fetch` sends beside it. */
const isKnown = (ifNoneMatch: string, etag: string): boolean =>
  ifNoneMatch
    .split(',')
    .map((it) => it.trim().replace(/^W\//, ''))
    .some((it) => it === etag || it === '*')
