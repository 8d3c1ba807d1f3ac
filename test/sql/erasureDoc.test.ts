import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { useConnection, useDatabase } from '../support/useNode.ts'

describe('docs/erasure.md', () => {
  const db = useConnection(useDatabase())

  it('has statements for legal holds and retention that Postgres runs with the outcomes beside them', async () => {
    const page = readFileSync(new URL('../../docs/erasure.md', import.meta.url), 'utf8')
    const statements = [...page.matchAll(/^```sql\n(.*?)^```/gms)].flatMap(([, block = '']) =>
      block.trim().split('\n'),
    )
    await db.query(`select starcite.create_session('tenant', 'ses_1')`)

    const outcomes = []
    for (const statement of statements) {
      const { rows } = await db.query({ text: statement, rowMode: 'array' })
      if (/hold_session|release_session/.test(statement)) outcomes.push(rows[0]?.[0])
    }

    expect(statements.length).to.be.greaterThan(7)
    expect(outcomes).to.deep.equal(['held', 'released'])
    const { rows } = await db.query(
      'select r.tenant_id from starcite.retention_rules r order by r.tenant_id nulls first',
    )
    expect(rows).to.deep.equal([{ tenant_id: null }, { tenant_id: 'archive' }])
  })
})
