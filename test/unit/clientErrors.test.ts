import { expect } from 'chai'
import { Backoff } from '../../src/client/backoff.ts'
import { errorFromAnswer } from '../../src/client/errors.ts'
import { ERRORS } from '../../src/protocol/errors.ts'

const REQUEST = { what: 'POST /v1/sessions', bytes: 2000 }
const of = (status: number, body: unknown, retryAfter: string | null = null) =>
  errorFromAnswer(REQUEST, status, typeof body === 'string' ? body : JSON.stringify(body), retryAfter)

describe('the error that an answer is to the client', () => {
  it('is the server’s for each of its codes, and retryable as the protocol defines', () => {
    for (const [code, { status, retry }] of Object.entries(ERRORS))
      expect(of(status, { error: code, message: 'why', field: 'x' }), code).to.deep.include({
        code,
        status,
        retryable: retry,
      })
  })

  it('is a passing one for what other programs answer in JSON', () => {
    for (const body of [
      { error: 'Bad Gateway', message: 'no' },
      { error: 'Not Found', status: 404 },
      { error: { code: 'forbidden' } },
      { error: 404 },
      { error: '' },
      { error: null },
      { message: 'Forbidden' },
      ['error'],
      'null',
      '"error"',
    ])
      expect(of(403, body), JSON.stringify(body)).to.include({ code: 'network_error', retryable: true })
  })

  it('has a wait that a timer can hold, for every Retry-After', () => {
    expect(of(503, '', '7').retryAfterMs).to.equal(7000)
    for (const value of ['-5', 'Wed, 21 Oct 2026 07:28:00 GMT', 'soon', ''])
      expect(of(503, '', value).retryAfterMs ?? 0, value).to.equal(0)
    expect(of(503, { error: 'draining', retry_after_ms: -1 }).retryAfterMs).to.equal(undefined)
    expect(new Backoff(1, 1).next(of(503, '', '1e12').retryAfterMs)).to.be.within(300_000, 300_001)
  })
})
