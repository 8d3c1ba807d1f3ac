import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type { Answer } from './client.ts'

/** Asserts an error as the contract has every error: the code, a sentence that names the field, details, JSON, an id. */
export function expectError(
  answer: Answer,
  status: number,
  code: string,
  details: Readonly<Record<string, unknown>> = {},
): void {
  expect([answer.status, answer.json?.error], answer.text.slice(0, 500)).to.deep.equal([status, code])
  expect(answer.json).to.include(details)
  expect(answer.json.message).to.be.a('string').and.not.equal('')
  if (typeof details.field === 'string') expect(answer.json.message).to.include(details.field)
  expect(answer.headers.get('content-type')).to.equal('application/json; charset=utf-8')
  expect(answer.headers.get('x-request-id')).to.match(/^[\w.:/+=@-]{1,128}$/)
}

/** A name that no other test has. */
export const unique = (prefix = 'ses') => `${prefix}_${randomUUID()}`

/** The URL of a session, for an id of any characters. */
export const at = (base: string, id: string, rest = '') =>
  `${base}/v1/sessions/${encodeURIComponent(id)}${rest}`
