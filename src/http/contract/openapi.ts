import { type TSchema, Type } from 'typebox'
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts'
import { Components } from './components.ts'
import { discriminatorOf, errorsSchema, meaningOf } from './errors.ts'
import { type Answer, type Content, errorsOf, headersOf, type Operation } from './operation.ts'

const DESCRIPTION = `Durable, ordered, replayable logs for AI sessions.

Branch on \`error\`, never on \`message\`. HEAD is GET without the body. Unknown members of a body are ignored; \`null\`
for an optional member means that it was not given (\`title: null\` clears); integers may be sent as decimal strings.
What is answered to paths and methods that are not here is under \`x-otherwise\`. The sockets are in /asyncapi.json.`

const TAGS = [
  { name: 'sessions', description: 'What there is to say about a session apart from its log.' },
  { name: 'events', description: 'The log: appending, paging, following.' },
  { name: 'erasure', description: 'Removing what must not be kept.' },
  { name: 'lifecycle', description: 'What happens to all sessions of the tenant.' },
  { name: 'operations', description: 'For load balancers, Prometheus and whoever runs the node.' },
  { name: 'contract', description: 'This, for machines.' },
]

const PATH_PARAMETERS: Readonly<Record<string, { schema: TSchema; description: string }>> = {
  id: {
    schema: Type.String({ minLength: 1 }),
    description: 'The id of the session, percent-encoded: 1 to 256 bytes, without control characters.',
  },
  seq: { schema: Type.Integer({ minimum: 1 }), description: 'The seq of the event.' },
  erasure: { schema: Type.String({ minLength: 1 }), description: 'The id of the erasure.' },
}

const HEADERS: Readonly<Record<string, { schema: TSchema; description: string }>> = {
  'X-Request-Id': {
    schema: Type.String({ pattern: '^[\\w.:/+=@-]{1,128}$' }),
    description: "The caller's, when it is sane, else a new one.",
  },
  'Retry-After': { schema: Type.Integer({ minimum: 1 }), description: 'Seconds to wait.' },
  'WWW-Authenticate': { schema: Type.String(), description: 'What token would do (RFC 6750).' },
  Allow: { schema: Type.String(), description: 'The methods of this path.' },
  Location: { schema: Type.String(), description: 'Where it is.' },
  ETag: { schema: Type.String(), description: 'Changes with the content.' },
  Upgrade: { schema: Type.Literal('websocket'), description: 'The protocol from here on.' },
}

/** The HTTP API of a release as an OpenAPI 3.1 document. */
export function openApi(operations: readonly Operation[], release: string): object {
  const components = new Components()
  const paths: Record<string, Record<string, unknown>> = {}
  for (const operation of operations) {
    const template = operation.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[template] ??= parametersOf(operation.path, components)
    paths[template][operation.method] = operationObject(operation, components)
  }
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

function parametersOf(path: string, components: Components): Record<string, unknown> {
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => name)
  if (names.length === 0) return {}
  const parameters = names.map((name) => {
    const parameter = PATH_PARAMETERS[name]
    if (parameter === undefined) throw new Error(`the path parameter ${name} is not described`)
    const { description, schema } = parameter
    return { name, in: 'path', required: true, description, schema: components.of(schema) }
  })
  return { parameters }
}

function operationObject(operation: Operation, components: Components): object {
  const { body, description, id, parameters, summary, tag } = operation
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security: securityOf(operation),
    ...(parameters && {
      parameters: parameters.map(({ schema, ...parameter }) => ({
        ...parameter,
        schema: components.of(schema),
      })),
    }),
    ...(body && { requestBody: { required: body.required, content: contentOf(body.content, components) } }),
    responses: responsesOf(operation, components),
  }
}

/** A node without authentication takes every call without a token. */
function securityOf({ scope, tokenParameter }: Operation): object[] {
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
      description: 'With STARCITE_AUTH_MODE=jwt. The scopes are those of the token.',
    },
    ...Object.fromEntries(
      [...inQuery].map((name) => [
        name,
        { type: 'apiKey', in: 'query', name, description: 'Where clients cannot set headers.' },
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

/** By status, as the list of errors has it. */
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
        schema: {
          ...(components.of(errorsSchema(codes)) as object),
          ...(codes.length > 1 && { discriminator: discriminatorOf(codes) }),
        },
      },
    },
  }
}

const header = (name: string) => ({ $ref: `#/components/headers/${name}` })

const optional = (name: string) => ({
  description: HEADERS[name]?.description,
  schema: HEADERS[name]?.schema,
})
