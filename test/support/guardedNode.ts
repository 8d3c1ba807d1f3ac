import { Appender } from '../../src/append/appender.ts'
import type { Authenticator } from '../../src/auth/authenticator.ts'
import { type Principal, SCOPES } from '../../src/auth/principal.ts'
import { loadConfig } from '../../src/config.ts'
import { Db } from '../../src/db/pool.ts'
import { createApp } from '../../src/http/app.ts'
import { HttpServer } from '../../src/http/server.ts'
import { Sockets } from '../../src/http/transports/sockets.ts'
import { FairTurns } from '../../src/lib/fairTurns.ts'
import { NEVER_IDLE } from '../../src/lib/idleness.ts'
import { MemoryBudget } from '../../src/lib/memoryBudget.ts'
import { UnreadBudget } from '../../src/lib/unreadBudget.ts'
import { LifecycleFeed } from '../../src/lifecycle/feed.ts'
import { Hub } from '../../src/live/hub.ts'
import { Health } from '../../src/ops/health.ts'
import { createLog } from '../../src/ops/log.ts'
import { Metrics } from '../../src/ops/metrics.ts'
import { AppError } from '../../src/protocol/errors.ts'
import { Erasures } from '../../src/sessions/erasure/erasures.ts'
import { Sessions } from '../../src/sessions/sessions.ts'
import { Cursors } from '../../src/tail/cursors.ts'
import { History } from '../../src/tail/history.ts'
import { EventLog } from '../../src/tail/log.ts'
import { MissingEvents } from '../../src/tail/missingEvents.ts'
import { TailQuota } from '../../src/tail/quota.ts'
import { Tails } from '../../src/tail/tail.ts'
import { ensureSegments } from '../../src/tiering/queries.ts'
import { unique } from './answers.ts'

/** Of tenant acme, with every scope and no end. */
const LENA: Principal = {
  tenantId: 'acme',
  actor: 'user:lena',
  kind: 'user',
  scopes: SCOPES,
  sessionId: null,
  expiresAtMs: null,
}

/** Tokens are what a test says they are. */
export class Guests implements Authenticator {
  readonly #principals = new Map<string, Principal>()

  admit(token: string, principal: Principal): void {
    this.#principals.set(token, principal)
  }

  /** A new token, Lena's where `of` says nothing else. */
  token(of: Partial<Principal> = {}): string {
    const name = unique('token')
    this.admit(name, { ...LENA, ...of })
    return name
  }

  async authenticate(token: string | undefined): Promise<Principal> {
    const principal = this.#principals.get(token ?? '')
    const hasEnded = (principal?.expiresAtMs ?? Number.POSITIVE_INFINITY) <= Date.now()
    if (principal === undefined || hasEnded) throw new AppError('unauthorized', 'the token is not known')
    return principal
  }
}

const NOTHING_COLD = {
  coldUntil: async () => 0,
  sliceAt: async () => undefined,
  prefetch: () => {},
}

/** The API with an authenticator of the test's own, without the parts that run beside it. */
export async function startGuardedNode(
  database: { url: string },
  authenticator: Authenticator,
  { maxTails = 1000, settings = {} }: { maxTails?: number; settings?: Readonly<Record<string, string>> } = {},
) {
  const config = loadConfig({ DATABASE_URL: database.url, ...settings })
  const log = createLog('silent')
  const metrics = new Metrics()
  const db = new Db({
    url: database.url,
    size: 4,
    applicationName: 'guarded node',
    timeoutMs: 5000,
    preparedStatements: true,
    log,
  })
  const hub = new Hub({ db, log, metrics, ...config.tail })
  hub.start()
  const missing = new MissingEvents(db, log, metrics)
  const lifecycle = new LifecycleFeed({ db, log, metrics, ...config.tail })
  lifecycle.start()
  const appends = new Appender({
    latestTime: () => undefined,
    ensureSegments: () => ensureSegments(db),
    ...config.append,
    db,
    timeoutMs: 5000,
    log,
    metrics,
    onAppended: (_, rows) => hub.hint(rows[0]?.sid ?? '', rows.at(-1)?.lastSeq ?? 0),
  })
  const sockets = new Sockets({ ...config.tail, maxSockets: 100, drainSpreadMs: 0 })
  const health = new Health(config.listenerGraceMs)
  const sessions = new Sessions(db, config.limits.sessionMetadataBytes)
  health.running({ pingDatabase: () => db.ping(), listenerDownForMs: () => 0 })
  const app = createApp(
    {
      config,
      log,
      metrics,
      authenticator,
      appends,
      sessions,
      erasures: new Erasures(db, () => {}),
      tails: new Tails(hub, new EventLog(db, NOTHING_COLD, metrics, missing), log, metrics),
      history: new History(db, NOTHING_COLD, hub, missing),
      cursors: new Cursors(db, NOTHING_COLD),
      lifecycle,
      sockets,
      arriving: new MemoryBudget(config.limits.bodyMemoryBytes),
      answers: new MemoryBudget(config.limits.answerMemoryBytes),
      unread: new UnreadBudget(config.limits.tailMemoryBytes),
      joins: new FairTurns(2),
      tailQuota: new TailQuota(maxTails),
      requestQuota: undefined,
      idleness: NEVER_IDLE,
    },
    { health, metrics, version: { version: '0.0.0-test', node: '', schema: '' } },
  )
  const http = await HttpServer.start(app, 0, '127.0.0.1', { ...config.http, stallMs: config.tail.stallMs })
  return {
    url: `http://127.0.0.1:${http.port}`,
    sessions,
    stop: async () => {
      await Promise.all([http.drain(), sockets.drain()])
      http.stop()
      await appends.stop()
      await lifecycle.stop()
      await hub.stop()
      await db.stop()
    },
  }
}
