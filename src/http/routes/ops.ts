import type Router from '@koa/router'
import type { Health } from '../../ops/health.ts'
import type { Metrics } from '../../ops/metrics.ts'
import { answerJson } from '../context.ts'

/** What this node runs. */
export interface Version {
  readonly version: string
  /** Of the source; absent when the build did not say. */
  readonly commit?: string
  readonly node: string
  /** The newest migration that this release knows. */
  readonly schema: string
}

export interface Operations {
  readonly health: Health
  readonly metrics: Metrics
  readonly version: Version
}

export function opsRoutes(router: Router, { health, metrics, version }: Operations): void {
  router.get('/health/live', (ctx) => answerJson(ctx, 200, '{"status":"ok"}'))

  router.get('/health/ready', async (ctx) => {
    const why = await health.notReadyBecause()
    const degraded = health.degradedBy
    if (why === undefined)
      answerJson(ctx, 200, JSON.stringify({ status: 'ok', ...(degraded.length > 0 && { degraded }) }))
    else answerJson(ctx, 503, JSON.stringify({ status: 'unavailable', ...why }))
  })

  router.get('/metrics', async (ctx) => {
    ctx.status = 200
    ctx.set('Content-Type', metrics.registry.contentType)
    ctx.body = await metrics.registry.metrics()
  })

  router.get('/version', (ctx) => answerJson(ctx, 200, JSON.stringify(version)))
}
