import { DEGRADED, NOT_READY } from '../../ops/health.ts'
import { sendJson } from '../context.ts'
import { closed, Text } from '../contract/values.ts'
import { Type } from '../jsonSchema.ts'
import { json, operation } from '../operation.ts'

const Well = closed({ status: Type.Literal('ok') }, { title: 'Well' })
const Ready = closed(
  {
    status: Type.Literal('ok'),
    degraded: Type.Optional(
      Type.Array(Type.Enum([...DEGRADED]), {
        description:
          'Why tails lag by up to STARCITE_POLL_INTERVAL: notifications do not arrive. Absent when they do.',
      }),
    ),
  },
  { title: 'Ready' },
)

const NotReady = closed(
  {
    status: Type.Literal('unavailable'),
    reason: Type.Enum([...NOT_READY]),
    message: Type.Optional(Type.String({ description: 'Details, when there are any.' })),
  },
  { title: 'NotReady' },
)

const Version = closed(
  {
    version: Text('The version of the release.'),
    commit: Type.Optional(Text('The commit of the source; absent when the build did not record it.')),
    node: Type.String({ description: 'The version of Node.js.' }),
    schema: Type.String({ description: 'The newest migration of the release.' }),
  },
  { title: 'Version' },
)

/** The members that operations on the node itself share. They need no token, so the network must restrict access to them. */
const ofNode = {
  method: 'get',
  tag: 'operations',
  description: 'With STARCITE_OPS_PORT set, only that port serves it; here the response is 404.',
  errors: ['not_found'],
} as const

const live = operation({
  ...ofNode,
  path: '/health/live',
  id: 'isLive',
  summary: 'Check whether the process runs',
  answers: { 200: json('The process runs.', Well) },
  handle: ({ ctx }) => sendJson(ctx, 200, '{"status":"ok"}'),
})

const ready = operation({
  ...ofNode,
  path: '/health/ready',
  id: 'isReady',
  summary: 'Check whether the node takes requests',
  answers: {
    200: json('The node takes requests.', Ready),
    503: json('The node takes no requests.', NotReady),
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
  summary: 'Read metrics for Prometheus',
  answers: {
    200: {
      description: 'Metrics in the text format of Prometheus.',
      content: { 'text/plain': Type.String() },
    },
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
  summary: 'Show what the node runs',
  answers: { 200: json('The release of the node.', Version) },
  handle: ({ ctx, node }) => sendJson(ctx, 200, JSON.stringify(node.version)),
})

export const OPS = [live, ready, metrics, version]
