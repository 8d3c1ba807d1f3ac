import { expect } from 'chai'
import { at, expectError, unique } from '../support/answers.ts'
import { type Answer, call } from '../support/client.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/

describe('sessions over HTTP', () => {
  const database = useDatabase()
  const node = useNode(database)

  const create = (body?: unknown) => call('POST', `${node.url}/v1/sessions`, body)
  const get = (id: string) => call('GET', at(node.url, id))
  const patch = (id: string, body: unknown) => call('PATCH', at(node.url, id), body)
  async function created(body: Record<string, unknown> = {}): Promise<string> {
    const answer = await create({ id: unique(), ...body })
    expect(answer.status, answer.text).to.equal(201)
    return answer.json.id
  }

  describe('creating', () => {
    it('answers 201, the session, and where it is', async () => {
      const id = unique()

      const answer = await create({ id, title: 'Draft', metadata: { tenant_id: 'acme' } })

      expect(answer.status).to.equal(201)
      const { created_at, updated_at, ...rest } = answer.json
      expect(rest).to.deep.equal({
        id,
        title: 'Draft',
        metadata: { tenant_id: 'acme' },
        tenant_id: 'default',
        last_seq: 0,
        version: 1,
        archived: false,
      })
      expect(created_at).to.match(TIME)
      expect(updated_at).to.match(TIME).and.to.equal(created_at)
      expect(answer.headers.get('location')).to.equal(`/v1/sessions/${id}`)
    })

    for (const body of [
      undefined,
      '',
      ' \n',
      '{}',
      '{"id":null,"title":null,"metadata":null,"creator_principal":null}',
    ])
      it(`makes an id when the body is ${JSON.stringify(body)}`, async () => {
        const answer = await create(body)

        expect(answer.status, answer.text).to.equal(201)
        expect(answer.json.id).to.match(/^ses_[A-Za-z0-9_-]{16}$/)
        expect(answer.json)
          .to.include({ title: null, last_seq: 0 })
          .and.not.have.property('creator_principal')
        expect(answer.json.metadata).to.deep.equal({})
      })

    it('ignores members that it does not know', async () => {
      expect((await create({ id: unique(), colour: 'green' })).status).to.equal(201)
    })

    it('refuses an id that is there already, and leaves that session as it was', async () => {
      const id = await created({ title: 'first' })

      expectError(await create({ id, title: 'second' }), 409, 'session_exists')

      expect((await get(id)).json.title).to.equal('first')
    })

    it('gives one of many that want the same id the session', async () => {
      const id = unique()

      const answers = await Promise.all(Array.from({ length: 8 }, () => create({ id })))

      expect(answers.map((answer) => answer.status).sort()).to.deep.equal([201, ...Array(7).fill(409)])
    })

    it('records the creator as given', async () => {
      const creator = '{"type":"user","id":"user:lena","tenant_id":"acme","number":1.0}'

      const answer = await create(`{"id":"${unique()}","creator_principal":${creator}}`)

      expect(answer.text).to.include(`"creator_principal":${creator}`)
      expect(answer.json.tenant_id).to.equal('default')
    })

    for (const [what, id] of [
      ['one byte', 'x'],
      ['256 bytes', `long-${'x'.repeat(251)}`],
      ['256 bytes in 64 characters', '🙂'.repeat(64)],
      ['colons', 'user:42:session:7'],
      ['a slash', 'a/b/../c'],
      ['what looks encoded', '100%25%2F%00'],
      ['a percent sign alone', '50%'],
      ['what has a meaning in URLs', '?a=b&c#d;e+f g'],
      ['quotes and SQL', `'; drop table starcite.sessions; --"\\`],
      ['several scripts', '契約-עברית-العربية-é'],
      ['a character that some take for a line end', 'a\u2028b'],
    ] as const)
      it(`takes an id of ${what}, and finds it again`, async () => {
        expect((await create({ id })).json).to.include({ id })

        expect((await get(id)).json).to.include({ id })
        const appended = await call('POST', at(node.url, id, '/append'), { type: 'a', payload: {} })
        expect(appended.status).to.equal(201)
        expect((await call('GET', at(node.url, id, '/events'))).json.events).to.have.length(1)
      })

    for (const [what, body, code, field] of [
      ['an empty id', { id: '' }, 'invalid_session', 'id'],
      ['an id of 257 bytes', { id: 'x'.repeat(257) }, 'invalid_session', 'id'],
      ['an id of 65 characters and 260 bytes', { id: '🙂'.repeat(65) }, 'invalid_session', 'id'],
      ['an id with a line end', { id: 'a\nb' }, 'invalid_session', 'id'],
      ['an id with U+0000', '{"id":"a\\u0000b"}', 'invalid_session', 'id'],
      ['an id with U+007F', { id: 'a\u007f' }, 'invalid_session', 'id'],
      ['an id with U+0085', { id: 'a\u0085' }, 'invalid_session', 'id'],
      ['an id with half a pair', '{"id":"a\\ud83d"}', 'invalid_session', 'id'],
      ['an id that is a number', { id: 7 }, 'invalid_session', 'id'],
      ['an id that is an object', { id: {} }, 'invalid_session', 'id'],
      ['a title that is a number', { title: 7 }, 'invalid_session', 'title'],
      ['a title that is a list', { title: ['a'] }, 'invalid_session', 'title'],
      ['a title with U+0000', '{"title":"a\\u0000b"}', 'invalid_session', 'title'],
      ['a title with half a pair', '{"title":"\\ude00"}', 'invalid_session', 'title'],
      ['metadata that is a list', { metadata: [] }, 'invalid_metadata', 'metadata'],
      ['metadata that is text', { metadata: 'a' }, 'invalid_metadata', 'metadata'],
      ['metadata that is a number', { metadata: 1 }, 'invalid_metadata', 'metadata'],
      ['metadata that is false', { metadata: false }, 'invalid_metadata', 'metadata'],
      ['metadata with U+0000', '{"metadata":{"a":{"b":["\\u0000"]}}}', 'invalid_metadata', 'metadata'],
      ['metadata with U+0000 in a name', '{"metadata":{"\\u0000":1}}', 'invalid_metadata', 'metadata'],
      ['metadata with half a pair', '{"metadata":{"a":"\\ud83dx"}}', 'invalid_metadata', 'metadata'],
      ['metadata with a huge number', '{"metadata":{"a":1e1000}}', 'invalid_metadata', 'metadata'],
      ['a creator that is text', { creator_principal: 'lena' }, 'invalid_session', 'creator_principal'],
      [
        'a creator with U+0000',
        '{"creator_principal":{"id":"\\u0000"}}',
        'invalid_session',
        'creator_principal',
      ],
    ] as const)
      it(`refuses ${what}: ${code}`, async () => {
        expectError(await create(body), 400, code, { field })
      })

    for (const [what, body, code] of [
      ['a list', '[]', 'invalid_session'],
      ['null', 'null', 'invalid_session'],
      ['text', '"ses"', 'invalid_session'],
      ['a number', '1', 'invalid_session'],
      ['half an object', '{"id":"a"', 'invalid_json'],
      ['single quotes', "{'id':'a'}", 'invalid_json'],
      ['something after the object', '{} {}', 'invalid_json'],
      ['NaN', '{"metadata":{"a":NaN}}', 'invalid_json'],
    ] as const)
      it(`refuses a body that is ${what}: ${code}`, async () => {
        expectError(await create(body), 400, code)
      })
  })

  describe('one session', () => {
    it('looks the same from every call that shows it', async () => {
      const creator_principal = { tenant_id: 'acme', id: 'user:lena', type: 'user' }
      const id = await created({ title: 'T', metadata: { a: 1 }, creator_principal })
      const seen = await get(id)

      const others: Answer[] = [
        await call('PATCH', at(node.url, id), { title: 'T' }),
        await call('POST', at(node.url, id, '/unarchive')),
      ]
      const list = await call('GET', `${node.url}/v1/sessions?limit=1000`)

      for (const other of others) expect(other.text).to.equal(seen.text)
      expect(list.text).to.include(seen.text)
      expect(seen.json.creator_principal).to.deep.equal(creator_principal)
    })

    it('shows how far its log is', async () => {
      const id = await created()
      const before = (await get(id)).json

      await call('POST', at(node.url, id, '/append'), { type: 'a', payload: {} })

      expect((await get(id)).json).to.deep.equal({ ...before, last_seq: 1 })
    })

    for (const [what, path] of [
      ['no session has', 'ses_nowhere'],
      ['holds U+0000', 'a%00b'],
      ['holds a line end', 'a%0Ab'],
      ['has 257 bytes', 'x'.repeat(257)],
      ['has an invalid escape', '%zz'],
      ['has half an escape', 'a%2'],
      ['has escapes that are no UTF-8', '%ff%fe'],
      ['has an escaped half pair', '%ED%A0%80'],
      ['looks like SQL', "'%20or%201=1--"],
      ['is escaped twice', '%2561'],
    ] as const)
      it(`is not found under an id that ${what}`, async () => {
        const answers = await Promise.all([
          call('GET', `${node.url}/v1/sessions/${path}`),
          call('PATCH', `${node.url}/v1/sessions/${path}`, { title: 'x' }),
          call('POST', `${node.url}/v1/sessions/${path}/archive`),
          call('POST', `${node.url}/v1/sessions/${path}/unarchive`),
          call('POST', `${node.url}/v1/sessions/${path}/append`, { type: 'a', payload: {} }),
          call('POST', `${node.url}/v1/sessions/${path}/events`, { events: [{ type: 'a', payload: {} }] }),
          call('GET', `${node.url}/v1/sessions/${path}/events`),
        ])

        for (const answer of answers) expectError(answer, 404, 'session_not_found')
      })
  })

  describe('changing', () => {
    it('sets the title, and clears it with null', async () => {
      const id = await created({ metadata: { a: 1 } })

      const set = await patch(id, { title: 'New' })
      const cleared = await patch(id, { title: null })

      expect(set.status).to.equal(200)
      expect(set.json).to.deep.include({ title: 'New', version: 2, metadata: { a: 1 } })
      expect(cleared.json).to.include({ title: null, version: 3 })
      expect(cleared.json.updated_at > set.json.updated_at).to.equal(true)
    })

    it('puts members of metadata over those there, at the top level, each to the letter', async () => {
      const { json } = await create('{"metadata":{"a":{"x":1,"y":2},"b":1.0,"z":"é"}}')

      const answer = await patch(json.id, '{"metadata":{"a":{"x":1.50},"new":12345678901234567890}}')

      expect(answer.text).to.include('"metadata":{"a":{"x":1.50},"b":1.0,"z":"é","new":12345678901234567890}')
      expect(answer.json.version).to.equal(2)
    })

    it('takes a metadata member that is null for a value', async () => {
      const id = await created({ metadata: { a: 1, b: 2 } })

      expect((await patch(id, { metadata: { a: null } })).json.metadata).to.deep.equal({ a: null, b: 2 })
    })

    it('keeps names that every JavaScript object inherits', async () => {
      const id = await created()

      const answer = await patch(id, '{"metadata":{"__proto__":{"a":1},"constructor":2}}')

      expect(answer.text).to.include('"metadata":{"__proto__":{"a":1},"constructor":2}')
    })

    for (const [what, body] of [
      ['the same title', { title: 'T' }],
      ['the same metadata in another order', '{"metadata":{"b":{"d":2,  "c":1},"a":1}}'],
      ['no member of metadata', { metadata: {} }],
    ] as const)
      it(`leaves the version when it brings ${what}`, async () => {
        const id = await created({ title: 'T', metadata: { a: 1, b: { c: 1, d: 2 } } })
        const before = await get(id)

        expect((await patch(id, body)).text).to.equal(before.text)
      })

    it('counts another way to write a number as a change, since numbers come back as they were sent', async () => {
      const { json } = await create('{"metadata":{"price":1}}')

      const answer = await patch(json.id, '{"metadata":{"price":1.0}}')

      expect(answer.text).to.include('"metadata":{"price":1.0}')
      expect(answer.json.version).to.equal(2)
    })

    it('changes nothing at another version than the expected one, and says which it is at', async () => {
      const id = await created({ title: 'T' })

      const wrong = await patch(id, { title: 'New', expected_version: 2 })
      const right = await patch(id, { title: 'New', expected_version: '1' })

      expectError(wrong, 409, 'expected_version_conflict', { current_version: 1 })
      expect(right.json).to.include({ title: 'New', version: 2 })
    })

    it('lets one of many that expect the same version through', async () => {
      const id = await created()

      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, i) => patch(id, { title: `T${i}`, expected_version: 1 })),
      )

      expect(answers.map((answer) => answer.status).sort()).to.deep.equal([200, ...Array(7).fill(409)])
      for (const answer of answers.filter((answer) => answer.status === 409))
        expectError(answer, 409, 'expected_version_conflict', { current_version: 2 })
    })

    it('loses no change of many at once', async () => {
      const id = await created()

      await Promise.all(Array.from({ length: 16 }, (_, i) => patch(id, { metadata: { [`k${i}`]: i } })))

      const { metadata, version } = (await get(id)).json
      expect(Object.keys(metadata)).to.have.length(16)
      expect(version).to.equal(17)
    })

    for (const [what, body, code, field] of [
      ['a title that is a number', { title: 7 }, 'invalid_session', 'title'],
      ['a title with U+0000', '{"title":"\\u0000"}', 'invalid_session', 'title'],
      ['metadata that is a list', { metadata: [] }, 'invalid_metadata', 'metadata'],
      ['metadata with half a pair', '{"metadata":{"a":"\\udc00"}}', 'invalid_metadata', 'metadata'],
      [
        'an expected version below 0',
        { title: 'a', expected_version: -1 },
        'invalid_session',
        'expected_version',
      ],
      [
        'half an expected version',
        { title: 'a', expected_version: 1.5 },
        'invalid_session',
        'expected_version',
      ],
      [
        'an expected version in words',
        { title: 'a', expected_version: 'one' },
        'invalid_session',
        'expected_version',
      ],
      [
        'an unsafe expected version',
        '{"title":"a","expected_version":9007199254740993}',
        'invalid_session',
        'expected_version',
      ],
    ] as const)
      it(`refuses ${what}: ${code}`, async () => {
        expectError(await patch(await created(), body), 400, code, { field })
      })

    for (const body of ['{}', '{"expected_version":1}', '{"metadata":null}', '{"colour":"green"}', '[]'])
      it(`refuses ${body}: nothing to change`, async () => {
        expectError(await patch(await created(), body), 400, 'invalid_session')
      })

    for (const body of ['', '{"title":', 'title'])
      it(`refuses ${JSON.stringify(body)}: not JSON`, async () => {
        expectError(await patch(await created(), body), 400, 'invalid_json')
      })
  })

  describe('archiving', () => {
    it('is idempotent, and can be reversed', async () => {
      const id = await created()
      const verb = (name: string) => call('POST', at(node.url, id, `/${name}`))

      const archived = await verb('archive')
      const again = await verb('archive')
      const back = await verb('unarchive')
      const backAgain = await verb('unarchive')

      expect(archived.status).to.equal(200)
      expect(archived.json).to.include({ archived: true, version: 2 })
      expect(again.text).to.equal(archived.text)
      expect(back.json).to.include({ archived: false, version: 3 })
      expect(backAgain.text).to.equal(back.text)
    })

    it('does not mind a body, or none', async () => {
      const id = await created()

      for (const body of [undefined, '{}', 'not JSON'])
        expect((await call('POST', at(node.url, id, '/archive'), body)).status).to.equal(200)
    })

    it('leaves a session readable, changeable and appendable', async () => {
      const id = await created()
      await call('POST', at(node.url, id, '/archive'))

      const appended = await call('POST', at(node.url, id, '/append'), { type: 'a', payload: {} })
      const changed = await patch(id, { title: 'T' })

      expect(appended.json).to.include({ seq: 1 })
      expect(changed.json).to.include({ title: 'T', archived: true, last_seq: 1 })
      expect((await call('GET', at(node.url, id, '/events'))).json.events).to.have.length(1)
    })
  })
})
