import { Type } from 'typebox'
import type { Answer, Operation } from '../operation.ts'

const document: Answer = {
  description: 'The document.',
  content: { 'application/json': Type.Object({}, { additionalProperties: true }) },
  headers: ['ETag'],
}
const served = {
  method: 'get',
  tag: 'contract',
  parameters: [
    { name: 'If-None-Match', in: 'header', description: 'The ETag of a copy.', schema: Type.String() },
  ],
  answers: { 200: document, 304: { description: 'The copy is good.', headers: ['ETag'] } },
  errors: [],
} as const

/** See routes/contract.ts. */
export const CONTRACT_OPERATIONS: readonly Operation[] = [
  { ...served, path: '/openapi.json', id: 'openApi', summary: 'This document: the HTTP API, in OpenAPI 3.1' },
  { ...served, path: '/asyncapi.json', id: 'asyncApi', summary: 'The sockets, in AsyncAPI 3' },
]
