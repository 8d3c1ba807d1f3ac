import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Ajv } from 'ajv'
import { expect } from 'chai'
import { asyncApi } from '../../src/http/contract/asyncapi.ts'
import { errorsOf } from '../../src/http/contract/errorsOf.ts'
import { forTests } from '../../src/http/contract/forClients.ts'
import { openApi } from '../../src/http/contract/openapi.ts'
import { OPERATIONS } from '../../src/http/operations.ts'
import { ERRORS } from '../../src/protocol/errors.ts'
import { Contract } from '../support/contract.ts'
import { makeScratch } from '../support/scratch.ts'
import { SocketContract } from '../support/socketContract.ts'

const require = createRequire(import.meta.url)
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const RELEASE = '1.2.3'
const SERVED = { release: RELEASE, eraseScope: 'session:create' } as const

describe('the contract for machines', () => {
  it('says which scope an erasure takes on the node that serves it', () => {
    const securityOf = (eraseScope: 'session:create' | 'session:erase') => {
      const { paths } = JSON.parse(JSON.stringify(openApi(OPERATIONS, { release: RELEASE, eraseScope })))
      return paths['/v1/sessions/{id}'].delete.security
    }

    expect(securityOf('session:create')).to.deep.equal([{ bearer: ['session:create'] }, {}])
    expect(securityOf('session:erase')).to.deep.equal([{ bearer: ['session:erase'] }, {}])
  })

  it('has every code that there is', () => {
    const ofOperations = OPERATIONS.flatMap(errorsOf)
    const ofSockets = JSON.stringify(asyncApi(RELEASE))
    const missing = Object.keys(ERRORS).filter(
      (code) => !(ofOperations as string[]).includes(code) && !ofSockets.includes(`"${code}"`),
    )

    expect(missing).to.deep.equal(['method_not_allowed'])
    expect(openApi(OPERATIONS, SERVED)).to.have.nested.property('x-otherwise.405')
  })

  it('lets answers gain members: only tests are held to those that are there', () => {
    const published = JSON.stringify(openApi(OPERATIONS, SERVED))
    const held = JSON.stringify(openApi(OPERATIONS, SERVED, forTests))

    expect(published).not.to.include('"additionalProperties":false')
    expect(held.replaceAll(/,?"additionalProperties":false/g, '')).to.equal(published)
  })

  it('has no shape that generators take for nothing', () => {
    const schemas: Record<string, unknown>[] = []
    JSON.stringify(openApi(OPERATIONS, SERVED), (_, value) => {
      if (typeof value === 'object' && value !== null) schemas.push(value)
      return value
    })
    const isEmpty = ({ type, properties, additionalProperties }: Record<string, unknown>) =>
      type === 'object' && additionalProperties === undefined && Object.keys(properties ?? {}).length === 0
    const isMixed = ({ anyOf, oneOf, properties }: Record<string, unknown>) =>
      properties !== undefined && (anyOf ?? oneOf) !== undefined
    const isUntyped = (schema: Record<string, unknown>) =>
      Array.isArray(schema.enum) && schema.type === undefined
    const isNarrow = (schema: Record<string, unknown>) =>
      schema.type === 'integer' && (schema.format !== 'int64' || schema.maximum === undefined)

    expect(
      schemas.filter((schema) => [isEmpty, isMixed, isUntyped, isNarrow].some((is) => is(schema))),
    ).to.deep.equal([])
  })

  it('offers handshakes to WebSocket clients only', () => {
    const { paths, 'x-websockets': handshakes } = JSON.parse(JSON.stringify(openApi(OPERATIONS, SERVED)))

    expect(Object.keys(handshakes)).to.deep.equal(['/v1/sessions/{id}/tail', '/v1/socket/websocket'])
    expect(JSON.stringify(paths)).not.to.include('"101":')
    expect(paths).not.to.have.property('/v1/socket/websocket')
    expect(handshakes).to.have.nested.property('/v1/socket/websocket.get.responses.101')
  })

  it('is OpenAPI 3.1 and AsyncAPI 3 to the linter, without a word of blame', async function () {
    this.timeout(120_000)
    const directory = await makeScratch('contract')
    const files = ['openapi.json', 'asyncapi.json'].map((name) => path.join(directory, name))
    await Promise.all([
      writeFile(files[0] as string, JSON.stringify(openApi(OPERATIONS, SERVED))),
      writeFile(files[1] as string, JSON.stringify(asyncApi(RELEASE))),
    ])
    const bin = path.join(path.dirname(require.resolve('@redocly/cli/package.json')), 'bin/cli.js')

    const linted = await promisify(execFile)(
      process.execPath,
      [bin, 'lint', '--config', path.join(ROOT, 'redocly.yaml'), '--format=json', ...files],
      { env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' } },
    ).catch((error) => error as { stdout: string; stderr: string })
    await rm(directory, { recursive: true })

    expect(linted.stdout, linted.stderr).to.include('"totals"')
    for (const [, totals] of linted.stdout.matchAll(/"totals": (\{[^}]*\})/g))
      expect(JSON.parse(totals ?? ''), linted.stdout).to.include({ errors: 0, warnings: 0 })
  })

  it('is AsyncAPI 3 to the schema of its makers', () => {
    const schema = require('@asyncapi/specs/schemas/3.0.0-without-$id.json')
    const ajv = new Ajv({ strict: false, validateFormats: false })

    const isValid = ajv.validate(schema, asyncApi(RELEASE))

    expect(ajv.errors ?? []).to.deep.equal([])
    expect(isValid).to.equal(true)
  })
})

describe('what holds answers to the contract', () => {
  const contract = new Contract()
  const base = 'http://localhost:4000'
  const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8', 'x-request-id': 'r' }
  const of = (status: number, body: unknown, headers: Record<string, string> = {}) => ({
    status,
    headers: new Headers({ ...JSON_TYPE, ...headers }),
    text: body === undefined ? '' : JSON.stringify(body),
  })
  const appended = { seq: 1, last_seq: 1, deduped: false, cursor: 1, committed_cursor: 1 }
  const append = (answer: ReturnType<typeof of>) =>
    contract.violations('POST', `${base}/v1/sessions/ses_x/append`, answer)

  it('lets through what is as the contract has it', () => {
    expect(append(of(201, appended))).to.deep.equal([])
    expect(append(of(409, { error: 'expected_seq_conflict', message: 'm', current_seq: 0 }))).to.deep.equal(
      [],
    )
  })

  it('checks the answers of handshakes, as those of requests', () => {
    const refused = of(400, { error: 'invalid_websocket_upgrade', message: 'm' })
    const open = (path: string, answer: ReturnType<typeof of>) =>
      contract.violations('GET', `${base}${path}`, answer)

    for (const path of ['/v1/socket/websocket', '/v1/sessions/ses_x/tail']) {
      expect(open(path, refused)).to.deep.equal([])
      expect(open(path, of(400, { error: 'session_exists', message: 'm' }))).not.to.deep.equal([])
    }
  })

  for (const [what, answer] of [
    ['an unknown member', of(201, { ...appended, colour: 'green' })],
    ['a member that is missing', of(201, { seq: 1 })],
    ['a status that it never has', of(418, {})],
    ['a code of another operation', of(409, { error: 'session_exists', message: 'm' })],
    ['a code of another status', of(409, { error: 'session_not_found', message: 'm' })],
    ['a code without its detail', of(409, { error: 'expected_seq_conflict', message: 'm' })],
    ['a detail that is not of the code', of(404, { error: 'session_not_found', message: 'm', index: 0 })],
    ['no Retry-After', of(429, { error: 'rate_limited', message: 'm', retry_after_ms: 1 })],
    ['an undeclared header', of(201, appended, { location: '/' })],
    [
      'no X-Request-Id',
      { ...of(201, appended), headers: new Headers({ 'content-type': JSON_TYPE['content-type'] }) },
    ],
    ['another type', of(201, appended, { 'content-type': 'text/plain' })],
  ] as const)
    it(`finds ${what}`, () => {
      expect(append(answer)).not.to.deep.equal([])
    })

  it('finds an operation, and a frame, that the documents do not have', () => {
    const sockets = new SocketContract(['tailTopic'])
    const event = {
      ...{ seq: 1, type: 'a', payload: {}, actor: 'b', metadata: {}, refs: {}, cursor: 1 },
      inserted_at: '2026-11-23T14:48:36.612846Z',
    }
    const frame = (event: object) => JSON.stringify(['1', null, 'tail:x', 'events', { events: [event] }])

    expect(contract.violations('PUT', `${base}/v1/sessions`, of(200, {}))).not.to.deep.equal([])
    expect(contract.violations('GET', `${base}/v1/nowhere`, of(200, {}))).not.to.deep.equal([])
    expect(sockets.allows(frame(event))).to.equal(true)
    for (const more of [{ source: null }, { producer_id: 'p' }, { colour: 'green' }, { cursor: undefined }])
      expect(sockets.allows(frame({ ...event, ...more })), JSON.stringify(more)).to.equal(false)
  })
})
