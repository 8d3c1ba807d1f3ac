import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config.ts'
import { measureKeys } from '../../src/gauges.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { type Service, startService } from '../../src/service.ts'
import { at, expectError, unique } from '../support/answers.ts'
import { newKey } from '../support/checkpoints.ts'
import { call, request, TailClient } from '../support/client.ts'
import { freePort, startNode } from '../support/node.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'
import { useDatabase } from '../support/useNode.ts'

const EVENT = { type: 'a', payload: {} }
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

/** Name and type of every row of the table of metrics. */
const documented = () =>
  [...read('docs/operations.md').matchAll(/^\| `(starcite_\w+)` \| (\w+) \|[^|]*\|([^|]*)\|/gm)].map(
    (row) => ({
      name: row[1] as string,
      type: row[2] as string,
      labels: [...(row[3] as string).matchAll(/`(\w+)`/g)].map((match) => match[1] as string),
    }),
  )

/** The metrics that an expression of PromQL asks for. */
const metricsIn = (expression: string) =>
  [...expression.matchAll(/\b(?:starcite|process|nodejs)_[a-z0-9_]+/g)].map((match) =>
    match[0].replace(/_(bucket|count|sum)$/, ''),
  )

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly runbook: string }
}
const alerts = (): Rule[] => parse(read('deploy/prometheus/alerts.yml')).groups[0].rules

describe('operating a node', () => {
  const database = useDatabase()
  let node: Service
  let opsUrl: string
  let metrics: Metrics
  const lines: Record<string, unknown>[] = []

  before(async () => {
    const opsPort = await freePort()
    opsUrl = `http://127.0.0.1:${opsPort}`
    metrics = new Metrics()
    metrics.measureProcess()
    const config = loadConfig({
      PORT: '0',
      STARCITE_HOST: '127.0.0.1',
      STARCITE_OPS_PORT: String(opsPort),
      STARCITE_DRAIN_SPREAD: '0s',
      STARCITE_ACCESS_LOG: 'true',
      STARCITE_COMMIT: 'c0ffee',
      DATABASE_URL: database.url,
      STARCITE_CHECKPOINT_KEY: newKey().privatePem,
    })
    const log = createLog('info', { write: (line) => lines.push(JSON.parse(line)) })
    node = await startService(config, '1.2.3', log, undefined, metrics)
  })
  after(async () => {
    await node?.stop()
  })

  const session = async () => (await call('POST', `${node.url}/v1/sessions`, { id: unique() })).json.id
  /** A sample of /metrics, by its line up to the value; NaN when there is none. */
  const sample = async (series: string) => {
    const { text } = await call('GET', `${opsUrl}/metrics`)
    const line = text.split('\n').find((line) => line.startsWith(`${series} `))
    return line === undefined ? Number.NaN : Number(line.slice(series.length + 1))
  }
  const lineOf = (requestId: string, msg = 'request') =>
    until(`a line of ${requestId}`, () =>
      lines.find((line) => line.requestId === requestId && line.msg === msg),
    )

  describe('the port of its own', () => {
    it('has health, metrics and version, which the API then has not', async () => {
      for (const path of ['/health/live', '/health/ready', '/metrics', '/version']) {
        expect((await call('GET', `${opsUrl}${path}`)).status, path).to.equal(200)
        expectError(await call('GET', `${node.url}${path}`), 404, 'not_found')
      }
    })

    it('tells the release, the commit, Node and the schema', async () => {
      const { json } = await call('GET', `${opsUrl}/version`)

      expect(json).to.deep.include({ version: '1.2.3', commit: 'c0ffee', node: process.versions.node })
      expect(json.schema).to.match(/^\d{4}_\w+$/)
    })

    it('answers what it does not know as JSON', async () => {
      expectError(await request('GET', `${opsUrl}/v1/sessions`), 404, 'not_found')
      const wrong = await call('POST', `${opsUrl}/health/live`, {})
      expectError(wrong, 405, 'method_not_allowed')
      expect(wrong.headers.get('allow')).to.equal('HEAD, GET')
      expect(wrong.headers.get('x-content-type-options')).to.equal('nosniff')
    })
  })

  describe('the metrics', () => {
    it('are those of docs/operations.md, by name, type and labels', async () => {
      const own = (await metrics.registry.getMetricsAsJSON()).filter((metric) =>
        metric.name.startsWith('starcite_'),
      )
      const labelsOf = (name: string) =>
        [...(metrics.registry.getSingleMetric(name) as unknown as { labelNames: string[] }).labelNames].sort()

      // Those of the issuer's keys are there with STARCITE_AUTH_MODE=jwt.
      const here = documented().filter(({ name }) => !name.startsWith('starcite_jwks_'))
      expect(
        here.map(({ name, type, labels }) => ({ name, type, labels: [...labels].sort() })),
      ).to.have.deep.members(
        own.map(({ name, type }) => ({ name, type: String(type), labels: labelsOf(name) })),
      )
    })

    it('of the process have names that the page tells of', async () => {
      const names = (await metrics.registry.getMetricsAsJSON()).map((metric) => metric.name)

      expect(names).to.include.members([
        'nodejs_eventloop_lag_p99_seconds',
        'process_resident_memory_bytes',
        'process_open_fds',
      ])
      expect(names.filter((name) => !/^(starcite|process|nodejs)_/.test(name))).to.deep.equal([])
    })

    it('count appends, requests by route, refusals by code, and nothing that a client chose', async () => {
      const id = await session()
      const before = await sample('starcite_events_append_total')

      await call('POST', at(node.url, id, '/append'), EVENT)
      await call('POST', at(node.url, id, '/append'), '{')
      await call('GET', `${node.url}/v1/${id}/nowhere`)
      await fetch(at(node.url, id), { method: 'MKCOL' })

      expect(await sample('starcite_events_append_total')).to.equal(before + 1)
      const appends =
        'starcite_http_request_seconds_count{route="/v1/sessions/:id/append",method="POST",status='
      expect(await sample(`${appends}"2xx"}`)).to.be.at.least(1)
      expect(await sample(`${appends}"4xx"}`)).to.be.at.least(1)
      expect(
        await sample('starcite_http_request_seconds_count{route="none",method="GET",status="4xx"}'),
      ).to.be.at.least(1)
      expect(
        await sample('starcite_http_request_seconds_count{route="none",method="other",status="4xx"}'),
      ).to.equal(1)
      expect(await sample('starcite_http_errors_total{code="invalid_json"}')).to.equal(1)
      expect(await sample('starcite_append_seconds_count')).to.be.at.least(1)
      expect((await call('GET', `${opsUrl}/metrics`)).text).not.to.include(id)
    })

    it('tell how long notifications and live tails take', async () => {
      const id = await session()
      const client = new TailClient(node.url, id, '')

      await until('a notification was timed', async () => {
        await call('POST', at(node.url, id, '/append'), EVENT)
        return (await sample('starcite_notify_lag_seconds_count')) > 0
      })
      await until(
        'a live event was timed',
        async () => (await sample('starcite_tail_delivery_lag_seconds_count')) > 0,
      )
      client.close()

      expect(await sample('starcite_notify_lag_seconds_sum')).to.be.within(0, 60)
      expect(
        await sample(
          'starcite_http_request_seconds_count{route="/v1/sessions/:id/tail",method="GET",status="1xx"}',
        ),
      ).to.equal(1)
    })

    it('tell the use of both pools', async () => {
      expect(await sample('starcite_db_pool_size{pool="append"}')).to.equal(3)
      expect(await sample('starcite_db_pool_size{pool="read"}')).to.equal(7)
      expect(await sample('starcite_db_pool_connections{pool="append"}')).to.be.within(1, 3)
      await until('queries end', async () => (await sample('starcite_db_pool_in_use{pool="append"}')) === 0)
    })
  })

  describe('the dashboard and the alerts', () => {
    it('ask only for metrics that exist', async () => {
      const ofTokens = new Metrics()
      measureKeys(ofTokens, { size: 1, ageSeconds: 0 })
      const namesIn = async ({ registry }: Metrics) =>
        (await registry.getMetricsAsJSON()).map((metric) => metric.name)
      const known = [...(await namesIn(metrics)), ...(await namesIn(ofTokens))]
      const panels: { targets?: { expr: string }[] }[] = JSON.parse(
        read('deploy/grafana/starcite.json'),
      ).panels
      const shown = panels.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => metricsIn(expr)))
      const alerted = alerts().flatMap(({ expr }) => metricsIn(expr))

      expect(shown.length).to.be.above(30)
      expect([...shown, ...alerted].filter((name) => !known.includes(name))).to.deep.equal([])
      const own = known.filter((name) => name.startsWith('starcite_'))
      expect(
        own.filter((name) => !shown.includes(name)),
        'not on the dashboard',
      ).to.deep.equal([])
    })

    it('have each a line in the run book, where its annotation points', () => {
      const book = [...read('docs/operations.md').matchAll(/^\| <a id="(\w+)"><\/a>`(\w+)` \|/gm)]

      expect(book.map((match) => match[2])).to.deep.equal(alerts().map((rule) => rule.alert))
      expect(book.map((match) => `docs/operations.md#${match[1]}`)).to.deep.equal(
        alerts().map((rule) => rule.annotations.runbook),
      )
    })

    it('name error codes that there are', async () => {
      const { ERRORS } = await import('../../src/protocol/errors.ts')
      const codes = alerts().flatMap(({ expr }) =>
        [...expr.matchAll(/code=~?"([^"]+)"/g)].flatMap((match) => (match[1] as string).split('|')),
      )

      expect(codes).not.to.deep.equal([])
      expect(codes.filter((code) => !(code in ERRORS))).to.deep.equal([])
    })
  })

  describe('the access log', () => {
    it('has a line for each request, with its trace, never the query', async () => {
      const id = await session()
      await call('GET', `${at(node.url, id, '/events')}?limit=1&access_token=hunter2`, undefined, {
        'x-request-id': 'seen-1',
        traceparent: `00-${TRACE}-${SPAN}-01`,
      })

      const line = await lineOf('seen-1')

      expect(line).to.deep.include({
        method: 'GET',
        path: `/v1/sessions/${id}/events`,
        route: '/v1/sessions/:id/events',
        status: 200,
        tenant: 'default',
        trace_id: TRACE,
        span_id: SPAN,
      })
      expect(line.ms).to.be.a('number')
      expect(JSON.stringify(lines)).not.to.include('hunter2')
    })

    it('names no trace when the header is none', async () => {
      for (const [i, traceparent] of [
        `00-${'0'.repeat(32)}-${SPAN}-01`,
        `00-${TRACE}-${'0'.repeat(16)}-01`,
        `ff-${TRACE}-${SPAN}-01`,
        `00-${TRACE}-${SPAN}-01-more`,
        `00-${TRACE.toUpperCase()}-${SPAN}-01`,
        'nonsense',
      ].entries()) {
        await call('GET', `${node.url}/v1/sessions`, undefined, { 'x-request-id': `odd-${i}`, traceparent })

        expect(await lineOf(`odd-${i}`)).not.to.have.property('trace_id')
      }
      const later = { 'x-request-id': 'later', traceparent: `01-${TRACE}-${SPAN}-01-more` }
      await call('GET', `${node.url}/v1/sessions`, undefined, later)
      expect(await lineOf('later')).to.include({ trace_id: TRACE })
    })

    it('is off unless it is asked for', async () => {
      const quiet: string[] = []
      const config = loadConfig({ PORT: '0', STARCITE_HOST: '127.0.0.1', DATABASE_URL: database.url })
      const other = await startService(
        config,
        '1.2.3',
        createLog('info', { write: (line) => quiet.push(line) }),
      )

      await call('GET', `${other.url}/v1/sessions`)
      await other.stop()

      expect(quiet.join('')).not.to.include('"request"')
    })
  })

  it('tells a client of a fault of ours no more than that: not the SQL, not the stack', async () => {
    const own = await migratedDatabase()
    const faulty: Record<string, unknown>[] = []
    const config = loadConfig({ PORT: '0', STARCITE_HOST: '127.0.0.1', DATABASE_URL: own.url })
    const log = createLog('info', { write: (line) => faulty.push(JSON.parse(line)) })
    const other = await startService(config, '1.2.3', log)
    const admin = await connect(own)
    try {
      await admin.query('alter table starcite.sessions rename column title to titel')

      const origin = 'http://localhost:5173'
      const answers = [
        await call('GET', `${other.url}/v1/sessions/x`, undefined, {
          origin,
          traceparent: `00-${TRACE}-${SPAN}-01`,
        }),
        await call('GET', `${other.url}/v1/sessions`, undefined, { origin }),
        await call('POST', `${other.url}/v1/sessions`, { title: 'hunter2' }, { origin }),
        await call('PATCH', `${other.url}/v1/sessions/x`, { title: 'hunter2' }, { origin }),
      ]

      for (const answer of answers) {
        expectError(answer, 500, 'internal_error')
        expect(answer.json).to.have.all.keys('error', 'message', 'request_id')
        expect(answer.text).not.to.match(/select|column|title|\.ts|\.js|at /)
        expect(answer.json.request_id).to.equal(answer.headers.get('x-request-id'))
        expect(answer.headers.get('access-control-allow-origin')).to.equal(origin)
      }
      const line = faulty.find((line) => line.requestId === answers[0]?.json.request_id)
      expect(line).to.deep.include({ msg: 'request failed', trace_id: TRACE, span_id: SPAN })
      expect(JSON.stringify(line)).to.include('titl').and.include('stack')
    } finally {
      await admin.end()
      await other.stop()
      await own.drop()
    }
  })

  describe('stopping', () => {
    it('serves on for the delay while it is not ready, so that a load balancer can notice', async () => {
      const other = await startNode(database, { STARCITE_DRAIN_DELAY: '500ms' })
      const id = await session()
      const client = new TailClient(other.url, id, '')
      await until('the tail is open', () => client.socket.readyState === client.socket.OPEN)

      const stopped = other.stop()
      const ready = await call('GET', `${other.url}/health/ready`)
      const appended = await call('POST', at(other.url, id, '/append'), EVENT)
      await client.until(({ frames }) => frames.length === 1)

      expect([ready.status, ready.json]).to.deep.equal([503, { status: 'unavailable', reason: 'draining' }])
      expect(appended.status).to.equal(201)
      expect(appended.headers.get('connection')).to.equal('close')
      expect(client.closed).to.equal(undefined)
      await stopped
      await client.until(({ closed }) => closed !== undefined)
      expect(client.closed?.code).to.equal(1012)
    })
  })

  describe('readiness', () => {
    it('fails as listener_down once notifications are missing for longer than the grace, and recovers', async () => {
      const proxy = await TcpProxy.start(database)
      const other = await startNode(database, {
        STARCITE_LISTEN_URL: proxy.url,
        STARCITE_LISTENER_GRACE: '200ms',
        STARCITE_POLL_INTERVAL: '50ms',
      })
      const ready = async () => (await call('GET', `${other.url}/health/ready`)).json
      try {
        await until('it is ready', async () => (await ready()).status === 'ok')
        proxy.refuse()

        await until('it is not ready', async () => (await ready()).reason === 'listener_down')
        expect((await call('GET', `${other.url}/health/ready`)).status).to.equal(503)
        const id = await session()
        const client = new TailClient(other.url, id, '')
        await call('POST', at(node.url, id, '/append'), EVENT)
        await client.until(({ frames }) => frames.length === 1) // by polling
        client.close()

        proxy.flow()
        await until('it is ready again', async () => (await ready()).status === 'ok')
      } finally {
        proxy.flow()
        await other.stop()
        await proxy.stop()
      }
    })

    it('costs Postgres one look however many ask at once', async () => {
      const { Health } = await import('../../src/ops/health.ts')
      const health = new Health(0)
      let looks = 0
      health.running({
        pingDatabase: async () => {
          looks += 1
          await Promise.resolve()
        },
        listenerDownForMs: () => 0,
      })

      const answers = await Promise.all(Array.from({ length: 100 }, () => health.notReadyBecause()))

      expect(answers).to.deep.equal(Array(100).fill(undefined))
      expect(looks).to.equal(1)
      await health.notReadyBecause()
      expect(looks).to.equal(2)
    })
  })
})
