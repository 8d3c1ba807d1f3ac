import { sendJson } from '../context.ts'
import type { ContractDocument } from '../contract/document.ts'
import { Type } from '../jsonSchema.ts'
import { type Answer, type Call, json, operation } from '../operation.ts'
import { header } from '../parameters.ts'

/** Long enough that pages of documentation need not reload it, and short enough that a new release appears soon. */
const MAX_AGE_SECONDS = 300

const document: Answer = json('The document.', Type.Object({}, { additionalProperties: true }), 'ETag')
const served = {
  method: 'get',
  tag: 'contract',
  parameters: { 'If-None-Match': header(Type.String(), "The ETag of the client's copy.") },
  answers: { 200: document, 304: { description: "The client's copy is current.", headers: ['ETag'] } },
  errors: [],
} as const

const openApi = operation({
  ...served,
  path: '/openapi.json',
  id: 'openApi',
  summary: 'Read this document: the HTTP API in OpenAPI 3.1',
  handle: (call) => answer(call, call.node.documents.openApi),
})

const asyncApi = operation({
  ...served,
  path: '/asyncapi.json',
  id: 'asyncApi',
  summary: 'Read the description of the sockets in AsyncAPI 3',
  handle: (call) => answer(call, call.node.documents.asyncApi),
})

export const CONTRACT = [openApi, asyncApi]

function answer({ ctx }: Pick<Call, 'ctx'>, { etag, text }: ContractDocument): void {
  ctx.set('ETag', etag)
  ctx.set('Cache-Control', `public, max-age=${MAX_AGE_SECONDS}`)
  if (isKnown(ctx.get('If-None-Match'), etag)) ctx.status = 304
  else sendJson(ctx, 200, text)
}

/** Whether If-None-Match has the ETag (RFC 9110, section 13.1.2). Koa's own check ignores it with `Cache-Control: no-cache`, which `fetch` adds. */
const isKnown = (ifNoneMatch: string, etag: string): boolean =>
  ifNoneMatch
    .split(',')
    .map((it) => it.trim().replace(/^W\//, ''))
    .some((it) => it === etag || it === '*')
