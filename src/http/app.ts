import cors from '@koa/cors'
import Koa from 'koa'
import type { Config } from '../config.ts'
import { OPS } from './api/ops.ts'
import type { Services } from './context.ts'
import { asyncApi } from './contract/asyncapi.ts'
import { ContractDocument } from './contract/document.ts'
import { openApi } from './contract/openapi.ts'
import { enter } from './enter.ts'
import { errorResponses } from './errors.ts'
import { exactId } from './exactId.ts'
import { gate, requestId, securityHeaders } from './middleware.ts'
import type { Documents, NodeStatus } from './nodeStatus.ts'
import { observe, trackRequests } from './observe.ts'
import { OPERATIONS } from './operations.ts'
import { allowedOrigin, rejectForeignPages } from './origins.ts'
import { routes } from './routes.ts'

/** The codes of errors that Koa emits when a client disconnects during a response, as readers of event streams do. */
const GONE = new Set(['ECONNRESET', 'EPIPE'])

/** The operations that the port of the API serves: without those of the node itself when STARCITE_OPS_PORT serves them. */
const served = ({ opsPort }: Config) =>
  opsPort === undefined ? OPERATIONS : OPERATIONS.filter((it) => !OPS.includes(it))

/** The OpenAPI and AsyncAPI documents of this node, with its release and its configured scopes. */
function documentsOf({ config: { eraseScope } }: Services, { version }: NodeStatus): Documents {
  const release = version.version
  return {
    openApi: new ContractDocument(() => openApi(OPERATIONS, { release, eraseScope })),
    asyncApi: new ContractDocument(() => asyncApi(release)),
  }
}

/** The application of the API. The list of its middleware is in the order in which a request passes it. */
export function createApp(services: Services, status: NodeStatus): Koa {
  const { config, log, metrics } = services
  const node = { ...status, documents: documentsOf(services, status) }
  const app = new Koa()
  app.on('error', (error: NodeJS.ErrnoException) => {
    if (!GONE.has(error.code ?? '')) log.error({ err: error }, 'unhandled error of a request')
  })
  app.use(requestId)
  app.use(exactId)
  app.use(observe(log, metrics, config.accessLog))
  app.use(trackRequests(services.idleness))
  app.use(securityHeaders)
  app.use(
    cors({
      origin: (ctx) => allowedOrigin(ctx, config.admitted),
      exposeHeaders: ['X-Request-Id', 'Retry-After', 'Location', 'WWW-Authenticate'],
      maxAge: 600,
    }),
  )
  app.use(errorResponses(log, (code) => metrics.error(code), services.answers))
  app.use(rejectForeignPages(config.admitted))
  app.use(gate(status.health))
  app.use(routes(served(config), (operation) => enter(operation, services, node)))
  return app
}

/** The application of STARCITE_OPS_PORT: health, metrics and version alone. */
export function createOpsApp(services: Services, status: NodeStatus): Koa {
  const { log } = services
  const node = { ...status, documents: documentsOf(services, status) }
  const app = new Koa()
  app.on('error', (error) => log.error({ err: error }, 'unhandled error of a request'))
  app.use(requestId)
  app.use(securityHeaders)
  app.use(errorResponses(log))
  app.use(routes(OPS, (operation) => enter(operation, services, node)))
  return app
}
