import { expect } from 'chai'
import { WebSocket } from 'ws'
import { Starcite } from '../../src/client/starcite.ts'
import { expectError, unique } from '../support/answers.ts'
import { call } from '../support/client.ts'
import { SocketClient } from '../support/socketClient.ts'
import { until } from '../support/until.ts'
import { useConnection, useDatabase, useNode } from '../support/useNode.ts'

const EVENT = { type: 'a', payload: { n: 1 } }

describe('ids that addresses cannot express', () => {
  const database = useDatabase()
  const node = useNode(database)
  const db = useConnection(database)

  before(async () => {
    // As older releases made them.
    for (const id of ['.', '..'])
      await db.query(
        `with s as (insert into starcite.sessions (tenant_id, id, metadata, created_at, updated_at)
                    values ('default', $1, '{}', now(), now()) returning sid)
         insert into starcite.session_heads (sid, chain_hash) select sid, starcite.genesis_hash('default', $1) from s`,
        [id],
      )
  })

  it('are refused where a session is created, over HTTP and in SQL, with the reason', async () => {
    for (const id of ['.', '..', '', 'a\u0007b', 'a\u0085', 'x'.repeat(257)]) {
      expectError(await call('POST', `${node.url}/v1/sessions`, { id }), 400, 'invalid_session', {
        field: 'id',
      })
      const refusal = await db.query('select starcite.create_session($1, $2)', ['default', id]).then(
        () => undefined,
        (error) => error,
      )
      const isLength = id.length === 0 || id.length > 256
      expect(refusal).to.include({ code: isLength ? '23514' : '22023' })
      expect(refusal.message).to.match(
        isLength ? /sessions_id_is_1_to_256_bytes/ : /^starcite\.create_session: id must /,
      )
    }
    // What only looks like them can be said in an address.
    for (const id of ['...', '.a', '%2e', '%2E%2e', '=.', 'a/../b', '\\', ' ', '~', 'é', 'x'.repeat(256)]) {
      expect((await call('POST', `${node.url}/v1/sessions`, { id })).status, id).to.equal(201)
      expect((await call('GET', `${node.url}/v1/sessions/${encodeURIComponent(id)}`)).json.id).to.equal(id)
      expect((await call('GET', `${node.url}/v1/session/=${encodeURIComponent(id)}`)).json.id).to.equal(id)
      expect(
        (await db.query('select starcite.create_session($1, $2) as sid', ['other', id])).rows[0].sid,
      ).to.be.a('string')
    }
  })

  for (const id of ['.', '..']) {
    it(`of an older session, ${id}, have another address: it is read, appended to, tailed and erased there`, async () => {
      const there = `${node.url}/v1/session/=${id}`

      expect((await call('GET', there)).json).to.include({ id, last_seq: 0 })
      expect((await call('POST', `${there}/append`, EVENT)).json).to.include({ seq: 1 })
      expect((await call('PATCH', there, { title: 'dots' })).json).to.include({ title: 'dots' })
      expect((await call('GET', `${there}/events?limit=1`)).json.events[0].payload).to.deep.equal({ n: 1 })
      const tail = new WebSocket(`${there.replace('http', 'ws')}/tail?follow=false`)
      const frames: string[] = []
      tail.on('message', (data) => frames.push(String(data)))
      await until('the tail has it', () => frames.length === 1)
      const socket = await SocketClient.open(node.url)
      expect(await socket.join(`tail:${id}`)).to.have.property('status', 'ok')
      socket.close()

      const session = new Starcite({ url: node.url, WebSocket }).session(id)
      expect((await session.get()).id).to.equal(id)
      expect((await session.append(EVENT)).seq).to.equal(2)

      expect((await call('DELETE', there)).json).to.include({ session_id: id, kind: 'session' })
      expectError(await call('GET', there), 410, 'session_erased')
    })

    it(`at /v1/session/=${id} a session that does not exist is not found`, async () => {
      expectError(await call('GET', `${node.url}/v1/session/=${unique()}`), 404, 'session_not_found')
      for (const path of ['/v1/session', '/v1/session/', `/v1/session/${id}x`])
        expectError(await call('GET', node.url + path), 404, 'not_found')
    })
  }
})
