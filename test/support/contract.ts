import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { forTests } from '../../src/http/contract/forClients.ts'
import { openApi } from '../../src/http/contract/openapi.ts'
import { OPERATIONS } from '../../src/http/operations.ts'
import { SocketContract } from './socketContract.ts'

interface Response {
  readonly headers: Readonly<Record<string, { $ref?: string; required?: boolean }>>
  readonly content?: Readonly<Record<string, unknown>>
}
type Paths = Readonly<Record<string, Readonly<Record<string, { responses: Record<string, Response> }>>>>
interface Document {
  readonly paths: Paths
  readonly 'x-websockets': Paths
  readonly 'x-otherwise': Readonly<Record<string, Response>>
  readonly components: { readonly headers: Readonly<Record<string, { required?: boolean }>> }
}

/** What is to be checked of an answer. */
export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Those that mean something to a client: none may come unannounced. */
const TELLING = ['Retry-After', 'WWW-Authenticate', 'Allow', 'Location', 'ETag']

/** Where operations are: requests, and handshakes. */
const WAYS = ['paths', 'x-websockets'] as const

/** Checks answers against the OpenAPI document, as a client that was generated from it would meet them. */
export class Contract {
  readonly #document: Document
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
  readonly #templates: { readonly template: string; readonly pattern: RegExp }[]

  constructor(
    document: object = openApi(OPERATIONS, { release: '0.0.0-test', eraseScope: 'session:create' }, forTests),
  ) {
    this.#document = document as Document
    this.#ajv.addSchema(document, 'contract')
    this.#templates = WAYS.flatMap((way) => Object.keys(this.#document[way])).map((template) => ({
      template,
      pattern: new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
    }))
  }

  /** What the answer is that it must not be; none: it is as the contract has it. */
  violations(method: string, url: string, answer: Answered): string[] {
    if (method === 'OPTIONS' && answer.status === 204)
      return answer.text === '' ? [] : ['a preflight has no body']
    const { pathname } = new URL(url)
    const found = this.#response(method, pathname, answer.status)
    if (found === undefined) return [`${answer.status} is not in the contract of ${method} ${pathname}`]
    return [
      ...this.#ofHeaders(found.response, found.pointer, answer),
      ...this.#ofBody(found.response, found.pointer, method, answer),
    ]
  }

  /** The operation's, or that of a path or method that is none. */
  #response(
    method: string,
    pathname: string,
    status: number,
  ): { response: Response; pointer: string } | undefined {
    const verb = method === 'HEAD' ? 'get' : method.toLowerCase()
    const template = this.#templates.find(({ pattern }) => pattern.test(pathname))?.template
    const ways = WAYS.filter((way) => this.#document[way][template ?? '']?.[verb])
    for (const way of ways) {
      const response = this.#document[way][template ?? '']?.[verb]?.responses[status]
      const pointer = `/${way}/${escaped(template ?? '')}/${verb}/responses/${status}`
      if (response) return { response, pointer }
    }
    const isUnknown = status === (template === undefined ? 404 : 405)
    const otherwise = this.#document['x-otherwise'][status]
    return ways.length === 0 && isUnknown && otherwise
      ? { response: otherwise, pointer: `/x-otherwise/${status}` }
      : undefined
  }

  #ofHeaders({ headers }: Response, pointer: string, answer: Answered): string[] {
    const problems = TELLING.filter((name) => answer.headers.has(name) && !(name in headers)).map(
      (name) => `the header ${name} is not in the contract`,
    )
    for (const [name, described] of Object.entries(headers)) {
      const value = answer.headers.get(name)
      const { $ref } = described
      const { required } = $ref
        ? (this.#document.components.headers[$ref.split('/').at(-1) ?? ''] ?? {})
        : described
      if (value === null) {
        if (required) problems.push(`the header ${name} is missing`)
        continue
      }
      const at = $ref === undefined ? `${pointer}/headers/${name}` : $ref.slice(1)
      const check = this.#check(`${at}/schema`)
      if (!check(value) && !check(Number(value))) problems.push(`the header ${name} is ${value}`)
    }
    return problems
  }

  #ofBody({ content }: Response, pointer: string, method: string, answer: Answered): string[] {
    const type = answer.headers.get('content-type')
    if (content === undefined)
      return answer.text === '' && type === null ? [] : [`there is a body, of type ${type}`]
    const [media = ''] = (type ?? '').split(';')
    if (!(media in content)) return [`the type ${type} is not in the contract`]
    if (method === 'HEAD') return answer.text === '' ? [] : ['an answer to HEAD has no body']
    if (media !== 'application/json') return []
    if (type !== 'application/json; charset=utf-8') return [`the type is ${type}`]
    const check = this.#check(`${pointer}/content/${escaped(media)}/schema`)
    return check(JSON.parse(answer.text))
      ? []
      : (check.errors ?? []).map(
          (error) => `body${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`,
        )
  }

  /** Ajv keeps what it has compiled. */
  #check(pointer: string): ValidateFunction {
    const ref = `contract#${pointer.split('/').map(encodeURIComponent).join('/')}`
    const check = this.#ajv.getSchema(ref)
    if (check === undefined) throw new Error(`there is no schema at ${ref}`)
    return check
  }
}

const escaped = (part: string) => part.replaceAll('~', '~0').replaceAll('/', '~1')

const broken: string[] = []
let contract: Contract | undefined
const sockets = new Map<readonly string[], SocketContract>()

/** Throws when an answer is not as the contract has it. */
export function hold(method: string, url: string, answer: Answered): void {
  contract ??= new Contract()
  // The other address of every session, which is not in the documents.
  const violations = contract.violations(method, url.replace('/v1/session/=', '/v1/sessions/='), answer)
  if (violations.length === 0) return
  fail(
    `${method} ${url} was answered ${answer.status} ${answer.text.slice(0, 300)}\n${violations.join('\n')}`,
  )
}

/** Throws when a frame is none that the contract of these channels has. */
export function holdFrame(channels: readonly string[], text: string): void {
  const known = sockets.get(channels) ?? new SocketContract(channels)
  sockets.set(channels, known)
  if (!known.allows(text)) fail(`the frame is not in the contract of ${channels}: ${text.slice(0, 500)}`)
}

function fail(said: string): never {
  broken.push(said)
  throw new Error(said)
}

/** Fails when a check of this file has thrown at any time, even if the caller swallowed the error. */
export function expectContractKept(): void {
  const violations = broken.splice(0)
  if (violations.length > 0) throw new Error(`the contract was broken:\n${violations.join('\n')}`)
}
