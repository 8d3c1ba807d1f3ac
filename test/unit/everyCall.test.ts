import { expect } from 'chai'
import { OPERATIONS } from '../../src/http/operations.ts'
import { EVERY_CALL, OPEN_CALLS, OWN_HANDSHAKES, SERVICE_CALLS } from '../support/everyCall.ts'

describe('the sweeps over the operations of the API', () => {
  const idsOf = (calls: readonly { readonly operation: { readonly id: string } }[]) => [
    ...new Set(calls.map(({ operation }) => operation.id)),
  ]
  const swept = [
    ...idsOf(EVERY_CALL),
    ...idsOf(SERVICE_CALLS),
    ...idsOf(OPEN_CALLS),
    ...OWN_HANDSHAKES.map(({ id }) => id),
  ]

  it('cover each operation, by one rule', () => {
    expect(swept.sort()).to.deep.equal(OPERATIONS.map(({ id }) => id).sort())
  })

  it('let nothing in without a token but operations and documents', () => {
    expect(idsOf(OPEN_CALLS).sort()).to.deep.equal([
      'asyncApi',
      'isLive',
      'isReady',
      'metrics',
      'openApi',
      'version',
    ])
    expect(OWN_HANDSHAKES.map(({ id }) => id)).to.deep.equal(['openSocket'])
    expect(idsOf(SERVICE_CALLS)).to.deep.equal(['followLifecycle'])
  })
})
