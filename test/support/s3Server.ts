import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { S3Credentials, S3Settings } from '../../src/objects/s3Store.ts'

/** What can go wrong with a request. It is as S3, or a network in front of it, does it. */
export type S3Fault =
  /** An answer of S3's errors, instead of the work. */
  | { readonly kind: 'error'; readonly status: number; readonly code: string }
  /** The work is done, the answer comes this much later. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** No answer at all, on a connection that stays open. */
  | { readonly kind: 'silent' }
  /** The connection breaks instead of an answer; nothing was done. */
  | { readonly kind: 'reset' }
  /** The work is done, then the connection breaks before the answer. */
  | { readonly kind: 'lost answer' }
  /** The connection breaks in the middle of the body. */
  | { readonly kind: 'cut body' }
  /** The body stops in the middle, on a connection that stays open. */
  | { readonly kind: 'stalled body' }
  /** Half of the body, said to be all of it. */
  | { readonly kind: 'short body' }
  /** The right length, one bit flipped. */
  | { readonly kind: 'flipped bit' }

export const SLOW_DOWN: S3Fault = { kind: 'error', status: 503, code: 'SlowDown' }
export const INTERNAL_ERROR: S3Fault = { kind: 'error', status: 500, code: 'InternalError' }
export const ACCESS_DENIED: S3Fault = { kind: 'error', status: 403, code: 'AccessDenied' }

/** What some servers that call themselves S3-compatible do with `If-None-Match` on a PUT. */
export type Conditions = 'honoured' | 'ignored' | 'refused'

export interface S3Request {
  readonly method: string
  /** Undefined for requests on the bucket. */
  readonly key: string | undefined
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
}

const CREDENTIALS = { accessKeyId: 'testkey', secretAccessKey: 'testsecret' }
const BUCKET = 'archive'
const MAX_SKEW_MS = 15 * 60_000

class S3Refusal extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string) {
    super(code)
    this.status = status
    this.code = code
  }
}

/**
 * The part of S3 that object stores of ours use, over HTTP in this process: PUT with If-None-Match, GET with Range,
 * HEAD, DELETE, ListObjectsV2 with pages. It checks signatures (version 4), the digest of the body, and the time against
 * its own clock. Faults are switched on by tests.
 */
export class S3Server {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #faults: { fault: S3Fault; times: number; on: (request: S3Request) => boolean }[] = []
  #port = 0
  /** Keys with the store's prefix. */
  readonly objects = new Map<string, Buffer>()
  /** Every request so far, refused ones too. */
  readonly requests: S3Request[] = []
  pageKeys = 1000
  conditions: Conditions = 'honoured'
  /** How far this server's clock is ahead. */
  clockAheadMs = 0

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(): Promise<S3Server> {
    const server = new S3Server()
    await server.comeUp()
    return server
  }

  get settings(): S3Settings & { readonly endpoint: string; readonly credentials: S3Credentials } {
    return {
      bucket: BUCKET,
      region: 'us-east-1',
      endpoint: `http://127.0.0.1:${this.#port}`,
      credentials: CREDENTIALS,
      prefix: 'starcite',
      pathStyle: true,
    }
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** The next `times` requests that `on` picks meet the fault; faults are met in the order they were given. */
  fail(fault: S3Fault, options: { times?: number; on?: (request: S3Request) => boolean } = {}): void {
    const { times = Number.POSITIVE_INFINITY, on = () => true } = options
    this.#faults.push({ fault, times, on })
  }

  heal(): void {
    this.#faults.length = 0
  }

  /** Connections are cut and new ones refused, until `comeUp`. Objects stay. */
  async goDown(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** On the same port as before. */
  async comeUp(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    await this.goDown()
  }

  async #answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {}) // the client has gone
    try {
      const body = await bodyOf(message)
      const request = read(message)
      this.requests.push(request)
      const fault = this.#takeFault(request)
      if (fault?.kind === 'silent') return
      if (fault?.kind === 'reset') return void message.socket.destroy()
      if (fault?.kind === 'error') throw new S3Refusal(fault.status, fault.code)
      this.#authenticate(message, body)
      const reply = this.#work(request, body)
      await this.#send(message, response, reply, fault)
    } catch (error) {
      if (!(error instanceof S3Refusal)) return void message.socket.destroy()
      const xml = `<Error><Code>${error.code}</Code><Message>${error.code}</Message></Error>`
      response.writeHead(error.status, this.#headers({ 'content-type': 'application/xml' }))
      response.end(message.method === 'HEAD' ? undefined : xml)
    }
  }

  #takeFault(request: S3Request): S3Fault | undefined {
    const entry = this.#faults.find((fault) => fault.times > 0 && fault.on(request))
    if (entry) entry.times -= 1
    return entry?.fault
  }

  #authenticate(message: IncomingMessage, body: Buffer): void {
    const { headers } = message
    const [, keyId, scope, signedHeaders, signature] =
      /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8}\/[^/]+\/s3\/aws4_request), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
        headers.authorization ?? '',
      ) ?? []
    if (scope === undefined || signedHeaders === undefined) throw new S3Refusal(403, 'AccessDenied')
    if (keyId !== CREDENTIALS.accessKeyId) throw new S3Refusal(403, 'InvalidAccessKeyId')
    const skew = timeOf(`${headers['x-amz-date']}`) - (Date.now() + this.clockAheadMs)
    if (!(Math.abs(skew) <= MAX_SKEW_MS)) throw new S3Refusal(403, 'RequestTimeTooSkewed')
    if (signature !== signatureOf(message, scope, signedHeaders))
      throw new S3Refusal(403, 'SignatureDoesNotMatch')
    if (headers['x-amz-content-sha256'] !== createHash('sha256').update(body).digest('hex'))
      throw new S3Refusal(400, 'XAmzContentSHA256Mismatch')
  }

  #work({ method, key, query, headers }: S3Request, body: Buffer): Reply {
    if (key === undefined) {
      if (method !== 'GET' || query.get('list-type') !== '2') throw new S3Refusal(405, 'MethodNotAllowed')
      return { status: 200, headers: { 'content-type': 'application/xml' }, body: this.#list(query) }
    }
    const object = this.objects.get(key)
    switch (method) {
      case 'PUT':
        this.#check(headers['if-none-match'], object)
        this.objects.set(key, body)
        return { status: 200 }
      case 'DELETE':
        this.objects.delete(key)
        return { status: 204 }
      case 'HEAD':
      case 'GET':
        if (object === undefined) throw new S3Refusal(404, 'NoSuchKey')
        return headers.range === undefined ? { status: 200, body: object } : rangeOf(object, headers.range)
      default:
        throw new S3Refusal(405, 'MethodNotAllowed')
    }
  }

  #check(condition: string | undefined, object: Buffer | undefined): void {
    if (condition === undefined || this.conditions === 'ignored') return
    if (this.conditions === 'refused' || condition !== '*') throw new S3Refusal(501, 'NotImplemented')
    if (object !== undefined) throw new S3Refusal(412, 'PreconditionFailed')
  }

  #list(query: URLSearchParams): Buffer {
    const prefix = query.get('prefix') ?? ''
    const token = query.get('continuation-token')
    const after = token === null ? '' : Buffer.from(token, 'base64').toString()
    const keys = [...this.objects.keys()]
      .filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const page = keys.slice(0, this.pageKeys)
    const isTruncated = page.length < keys.length
    const contents = page.map(
      (key) =>
        `<Contents><Key>${escapeXml(key)}</Key><Size>${this.objects.get(key)?.length}</Size></Contents>`,
    )
    const next = Buffer.from(page.at(-1) ?? '').toString('base64')
    return Buffer.from(
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>${BUCKET}</Name>` +
        `<KeyCount>${page.length}</KeyCount><IsTruncated>${isTruncated}</IsTruncated>` +
        `${isTruncated ? `<NextContinuationToken>${next}</NextContinuationToken>` : ''}${contents.join('')}</ListBucketResult>`,
    )
  }

  async #send(
    message: IncomingMessage,
    response: ServerResponse,
    reply: Reply,
    fault: S3Fault | undefined,
  ): Promise<void> {
    let body = reply.body ?? Buffer.alloc(0)
    const half = body.subarray(0, body.length >> 1)
    if (fault?.kind === 'lost answer') return void message.socket.destroy()
    if (fault?.kind === 'slow') await until(message.socket, fault.ms)
    if (fault?.kind === 'short body') body = half
    if (fault?.kind === 'flipped bit') {
      body = Buffer.from(body)
      body.writeUInt8(body.readUInt8(half.length) ^ 1, half.length)
    }
    // 204 has no body, and so no length.
    const length = reply.status === 204 ? {} : { 'content-length': String(body.length) }
    response.writeHead(reply.status, this.#headers({ ...length, ...reply.headers }))
    if (fault?.kind === 'cut body') return void response.write(half, () => message.socket.destroy())
    if (fault?.kind === 'stalled body') return void response.write(half)
    response.end(message.method === 'HEAD' ? undefined : body)
  }

  #headers(others: Readonly<Record<string, string>>): Record<string, string> {
    return { date: new Date(Date.now() + this.clockAheadMs).toUTCString(), ...others }
  }
}

interface Reply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

function read(message: IncomingMessage): S3Request {
  const url = new URL(message.url ?? '/', 'http://s3')
  const [, bucket, ...rest] = url.pathname.split('/')
  if (bucket !== BUCKET) throw new S3Refusal(404, 'NoSuchBucket')
  const key = rest.join('/')
  return {
    method: message.method ?? '',
    key: key === '' ? undefined : decodeURIComponent(key),
    query: url.searchParams,
    headers: message.headers,
  }
}

/** Of a time as in 20260131T235959Z. */
function timeOf(text: string): number {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text) ?? []
  return Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`)
}

/** Signature version 4, as Amazon's documentation builds it. */
function signatureOf({ method, url = '/', headers }: IncomingMessage, scope: string, signedHeaders: string) {
  const sign = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const [path, query = ''] = url.split('?')
  const canonical = [
    method,
    path,
    query.split('&').sort().join('&'),
    ...signedHeaders.split(';').map((name) => `${name}:${`${headers[name]}`.trim().replaceAll(/ +/g, ' ')}`),
    '',
    signedHeaders,
    headers['x-amz-content-sha256'],
  ].join('\n')
  const digest = createHash('sha256').update(canonical).digest('hex')
  const key = scope.split('/').reduce<string | Buffer>(sign, `AWS4${CREDENTIALS.secretAccessKey}`)
  return sign(key, `AWS4-HMAC-SHA256\n${headers['x-amz-date']}\n${scope}\n${digest}`).toString('hex')
}

function rangeOf(object: Buffer, range: string): Reply {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? []
  if (from === undefined || to === undefined || Number(to) < Number(from))
    return { status: 200, body: object }
  if (Number(from) >= object.length) throw new S3Refusal(416, 'InvalidRange')
  const last = Math.min(Number(to), object.length - 1)
  return {
    status: 206,
    headers: { 'content-range': `bytes ${from}-${last}/${object.length}` },
    body: object.subarray(Number(from), last + 1),
  }
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Waits `ms`, or until the client has closed the connection. */
function until(socket: Socket, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      socket.off('close', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    socket.on('close', done)
  })
}

const escapeXml = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
