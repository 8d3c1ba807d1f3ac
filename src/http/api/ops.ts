import { DEGRADED, NOT_READY } from '../../ops/health.ts'
import { sendJson } from '../context.ts'
import { closed, Text } from '../contract/values.ts'
import { Type } from '../jsonSchema.ts'
import { operation } from '../operation.ts'

const JSON_TYPE = 'application/json'
const Well = closed({ status: Type.Literal('ok') }, { title: 'Well' })
const Ready = closed(
  {
    status: Type.Literal('ok'),
    degraded: Type.Optional(
      Type.Array(Type.Enum([...DEGRADED]), {
        description:
          'Why tails lag, by up to STARCITE_POLL_INTERVAL: notifications do not arrive. Absent when they do.',
      }),
    ),
  },
  { title: 'Ready' },
)

const NotReady = closed(
  {
    status: Type.Literal('unavailable'),
    reason: Type.Enum([...NOT_READY]),
    message: Type.Optional(Type.String({ description: 'Where more is known.' })),
  },
  { title: 'NotReady' },
)

const Version = closed(
  {
    version: Text('Of this release.'),
    commit: Type.Optional(Text('Of the source; absent when the build did not say.')),
    node: Type.String({ description: 'The version of Node.js.' }),
    schema: Type.String({ description: 'The newest migration that this release knows.' }),
  },
  { title: 'Version' },
)

/** What the operations on the node itself share. None takes a token: they are for probes, which a network must guard. */
const ofNode = {
  method: 'get',
  tag: 'operations',
  description: 'Not here (404) but on that port when STARCITE_OPS_PORT is set.',
  errors: ['not_found'],
} as const

const live = operation({
  ...ofNode,
  path: '/health/live',
  id: 'isLive',
  summary: 'Whether the process runs',
  answers: { 200: { description: 'It does.', content: { [JSON_TYPE]: Well } } },
  handle: ({ ctx }) => sendJson(ctx, 200, '{"status":"ok"}'),
})

const ready = operation({
  ...ofNode,
  path: '/health/ready',
  id: 'isReady',
  summary: 'Whether to send requests here',
  answers: {
    200: { description: 'Do.', content: { [JSON_TYPE]: Ready } },
    503: { description: 'Do not.', content: { [JSON_TYPE]: NotReady } },
  },
  async handle({ ctx, node: { health } }) {
    const why = await health.notReadyBecause()
    const degraded = health.degradedBy
    if (why === undefined)
      sendJson(ctx, 200, JSON.stringify({ status: 'ok', ...(degraded.length > 0 && { degraded }) }))
    else sendJson(ctx, 503, JSON.stringify({ status: 'unavailable', ...why }))
  },
})

const metrics = operation({
  ...ofNode,
  path: '/metrics',
  id: 'metrics',
  summary: 'Metrics for Prometheus',
  answers: {
    200: { description: 'In the text format of Prometheus.', content: { 'text/plain': Type.String() } },
  },
  async handle({ ctx, node: { metrics } }) {
    ctx.status = 200
    ctx.set('Content-Type', metrics.registry.contentType)
    ctx.body = await metrics.registry.metrics()
  },
})

const version = operation({
  ...ofNode,
  path: '/version',
  id: 'version',
  summary: 'What this node runs',
  answers: { 200: { description: 'The release.', content: { [JSON_TYPE]: Version } } },
  handle: ({ ctx, node }) => sendJson(ctx, 200, JSON.stringify(node.version)),
})

export const OPS = [live, ready, metrics, version]
