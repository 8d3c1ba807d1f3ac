import type { TSchema } from 'typebox'
import type { Scope } from '../../auth/principal.ts'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { Type } from '../jsonSchema.ts'
import { type Answer, type Content, type Operation, type ScopeSettings, scopeOf } from '../operation.ts'
import type { Parameters } from '../parameters.ts'
import { namesIn, PATH_PARAMETERS } from '../pathParameters.ts'
import { Components, type Form } from './components.ts'
import { discriminatorOf, errorSchema, meaningOf } from './errors.ts'
import { errorsOf, headersOf } from './errorsOf.ts'
import { forClients } from './forClients.ts'

const DESCRIPTION = `Durable, ordered, replayable logs for AI sessions.

Branch on \`error\`, never on \`message\`. HEAD is GET without the body. Unknown members of a body are ignored; \`null\`
for an optional member means that it was not given (\`title: null\` clears the title); integers may be sent as decimal
strings. A later release may add members to responses, and error codes: ignore those that you do not know.

WebSocket handshakes are under \`x-websockets\`, in the form of \`paths\`; /asyncapi.json describes the sockets. Responses
to paths and methods that do not exist are under \`x-otherwise\`.`

const TAGS = [
  { name: 'sessions', description: 'Sessions: their titles, metadata and state, apart from their logs.' },
  { name: 'events', description: 'The log of a session: append, read pages, tail.' },
  { name: 'erasure', description: 'Erasing sessions and the content of events.' },
  { name: 'lifecycle', description: 'The lifecycle feed: changes of all sessions of the tenant.' },
  {
    name: 'operations',
    description: 'Health, metrics and version, for load balancers, Prometheus and operators.',
  },
  { name: 'contract', description: 'The API as OpenAPI and AsyncAPI documents.' },
]

const HEADERS: Readonly<Record<string, { schema: TSchema; description: string }>> = {
  'X-Request-Id': {
    schema: Type.String({ pattern: '^[\\w.:/+=@-]{1,128}$' }),
    description: "The request's own id when it matches the pattern, else a new one.",
  },
  'Retry-After': {
    schema: Type.Integer({ minimum: 1 }),
    description: 'Seconds to wait before the next attempt.',
  },
  'WWW-Authenticate': {
    schema: Type.String(),
    description: 'The challenge of RFC 6750: which token is required.',
  },
  Allow: { schema: Type.String(), description: 'The methods that the path supports.' },
  Location: { schema: Type.String(), description: 'The path of the resource.' },
  ETag: { schema: Type.String(), description: 'Identifies the content of the document.' },
  Upgrade: {
    schema: Type.Literal('websocket'),
    description: 'The protocol that the connection switches to.',
  },
}

/** The status of a completed handshake. HTTP clients cannot handle it, so generated ones must not offer it. */
const SWITCHED = 101

/** The release and the settings that a document depends on. */
export interface Served extends ScopeSettings {
  readonly release: string
}

/**
 * The HTTP API of a node as an OpenAPI 3.1 document. `form` decides how schemas are written; tests use one that allows no
 * other members in responses.
 */
export function openApi(
  operations: readonly Operation[],
  { release, ...settings }: Served,
  form: Form = forClients,
): object {
  const components = new Components(form)
  const paths = pathsOf(operations.flatMap(asRequest), settings, components)
  const handshakes = pathsOf(operations.flatMap(asHandshake), settings, components)
  const otherwise = responsesOfErrors(['not_found', 'method_not_allowed'], components)
  return {
    openapi: '3.1.1',
    info: {
      title: 'Starcite',
      version: release,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'The node that serves this document.' }],
    tags: TAGS,
    paths,
    'x-websockets': handshakes,
    'x-otherwise': otherwise,
    components: {
      securitySchemes: securitySchemes(operations),
      headers: Object.fromEntries(
        Object.entries(HEADERS).map(([name, { schema, description }]) => [
          name,
          { description, required: true, schema: components.of(schema) },
        ]),
      ),
      schemas: components.schemas,
    },
  }
}

/** The operation as HTTP clients call it; none when it takes handshakes alone. */
function asRequest(operation: Operation): Operation[] {
  const { [SWITCHED]: _, ...answers } = operation.answers
  return Object.keys(answers).some((status) => status.startsWith('2')) ? [{ ...operation, answers }] : []
}

/** The operation as WebSocket clients call it; none when it takes no handshakes. */
function asHandshake(operation: Operation): Operation[] {
  const { answers } = operation
  if (answers[SWITCHED] === undefined) return []
  const ofHandshake = Object.entries(answers).filter(([status]) => !status.startsWith('2'))
  return [{ ...operation, answers: Object.fromEntries(ofHandshake) }]
}

function pathsOf(
  operations: readonly Operation[],
  settings: ScopeSettings,
  components: Components,
): Record<string, object> {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of operations) {
    const template = operation.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[template] ??= parametersOf(operation.path, components)
    paths[template][operation.method] = operationObject(operation, scopeOf(operation, settings), components)
  }
  return paths
}

function parametersOf(path: string, components: Components): Record<string, unknown> {
  const parameters = namesIn(path).map((name) => {
    const { description, schema } = PATH_PARAMETERS[name]
    return { name, in: 'path', required: true, description, schema: components.of(schema) }
  })
  return parameters.length === 0 ? {} : { parameters }
}

function operationObject(operation: Operation, scope: Scope | undefined, components: Components): object {
  const { body, description, id, parameters, summary, tag, tokenParameter } = operation
  const content = body && { 'application/json': body.schema }
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security: securityOf(scope, tokenParameter),
    ...(parameters && { parameters: described(parameters, components) }),
    ...(content && { requestBody: { required: body.required, content: contentOf(content, components) } }),
    responses: responsesOf(operation, components),
  }
}

const described = (parameters: Parameters, components: Components): object[] =>
  Object.entries(parameters).map(([name, { description, schema, style, in: place }]) => ({
    name,
    in: place,
    ...(style && { style }),
    description,
    schema: components.of(schema),
  }))

/** The security requirement of an operation. The empty one is for nodes without authentication, which need no token. */
function securityOf(scope: Scope | undefined, tokenParameter: string | undefined): object[] {
  const scopes = scope === undefined ? [] : [scope]
  const ways = [
    ...(scope === undefined ? [] : [{ bearer: scopes }]),
    ...(tokenParameter === undefined ? [] : [{ [tokenParameter]: scopes }]),
  ]
  return ways.length === 0 ? [] : [...ways, {}]
}

function securitySchemes(operations: readonly Operation[]): object {
  const inQuery = new Set(operations.flatMap(({ tokenParameter }) => tokenParameter ?? []))
  return {
    bearer: {
      type: 'http',
      scheme: 'bearer',
      bearerFormat: 'JWT',
      description: 'Required with STARCITE_AUTH_MODE=jwt. The scopes are those of the token.',
    },
    ...Object.fromEntries(
      [...inQuery].map((name) => [
        name,
        { type: 'apiKey', in: 'query', name, description: 'For clients that cannot set headers.' },
      ]),
    ),
  }
}

function responsesOf(operation: Operation, components: Components): Record<string, unknown> {
  const responses = responsesOfErrors(errorsOf(operation), components)
  for (const [status, answer] of Object.entries(operation.answers)) {
    if (responses[status] !== undefined) throw new Error(`${operation.id} has two answers of ${status}`)
    responses[status] = responseOf(answer, components)
  }
  return responses
}

function responseOf({ content, description, headers = [] }: Answer, components: Components): object {
  return {
    description,
    headers: Object.fromEntries(['X-Request-Id', ...headers].map((name) => [name, header(name)])),
    ...(content && { content: contentOf(content, components) }),
  }
}

function contentOf(content: Content, components: Components): object {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [type, { schema: components.of(schema) }]),
  )
}

/** The responses of these codes, by their status. */
function responsesOfErrors(codes: readonly ErrorCode[], components: Components): Record<string, unknown> {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of codes) {
    const { status } = ERRORS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  return Object.fromEntries(
    [...byStatus].map(([status, ofStatus]) => [String(status), errorResponse(ofStatus, components)]),
  )
}

function errorResponse(codes: readonly ErrorCode[], components: Components): object {
  const headers = headersOf(codes).map(({ name, always }) => [name, always ? header(name) : optional(name)])
  return {
    description: codes.map((code) => `\`${code}\`: ${meaningOf(code)}`).join('\n'),
    headers: { 'X-Request-Id': header('X-Request-Id'), ...Object.fromEntries(headers) },
    content: {
      'application/json': {
        schema: bodyOfErrors(codes, components),
      },
    },
  }
}

/** `oneOf` has no other keyword beside it: generators would intersect that with every schema. */
function bodyOfErrors(codes: readonly ErrorCode[], components: Components): unknown {
  const shapes = codes.map((code) => components.of(errorSchema(code)))
  return shapes.length === 1 ? shapes[0] : { oneOf: shapes, discriminator: discriminatorOf(codes) }
}

const header = (name: string) => ({ $ref: `#/components/headers/${name}` })

const optional = (name: string) => ({
  description: HEADERS[name]?.description,
  schema: HEADERS[name]?.schema,
})
