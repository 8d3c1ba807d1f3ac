import { expect } from 'chai'
import type pg from 'pg'
import type { Service } from '../../src/service.ts'
import { call } from '../support/client.ts'
import { startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { bound, SLACK_MS } from '../support/slack.ts'
import { TcpProxy } from '../support/tcpProxy.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { timed, until } from '../support/until.ts'

const POLL_MS = 500

/**
 * A tail that polls sees an append one interval after it saw the one before. What comes in less than half of that was notified; a
 * loaded machine may need several attempts.
 */
const isWokenByNotifications = (lag: () => Promise<number>) =>
  until('a notification wakes the tail', async () => (await lag()) < POLL_MS / 2)

describe('tails, when the listener of their node loses Postgres', () => {
  /** A node whose LISTEN goes through a proxy, and a tail on it. Its appends come from elsewhere, by SQL. */
  async function lab() {
    const database: FreshDatabase = await migratedDatabase()
    const db: pg.Client = await connect(database)
    const proxy = await TcpProxy.start(database)
    const node: Service = await startNode(database, {
      STARCITE_LISTEN_URL: proxy.url,
      STARCITE_POLL_INTERVAL: `${POLL_MS}ms`,
    })
    await call('POST', `${node.url}/v1/sessions`, { id: 'tailed' })
    const tail = new ResumingTail(() => node.url, 'tailed')
    await until('the tail is open', () => tail.connections === 1)
    let appended = 0
    const isUp = async (up: 0 | 1) => {
      const { text } = await call('GET', `${node.url}/metrics`)
      return text.includes(`starcite_listener_up ${up}\n`)
    }
    await until('the listener is up', () => isUp(1))
    return {
      db,
      proxy,
      node,
      tail,
      isUp,
      /** Appends by SQL, and answers how long the tail took to see it. */
      lag: async () => {
        await db.query(`select starcite.append('tailed', 'n', '{}')`)
        appended += 1
        return (await timed(until('the tail has it', () => tail.cursor >= appended))).ms
      },
      backends: async () => {
        const { rows } = await db.query(
          `select from pg_catalog.pg_stat_activity a
            where a.datname = current_database() and a.application_name = 'starcite listener'`,
        )
        return rows.length
      },
      end: async () => {
        expect(tail.faults).to.deep.equal([])
        expect(tail.cursor).to.equal(appended)
        expect(tail.connections, 'the tail itself was never cut').to.equal(1)
        tail.stop()
        const { ms } = await timed(node.stop())
        expect(ms, 'the node stops at once').to.be.below(bound(3000))
        await proxy.stop()
        await db.end()
        await database.drop()
      },
    }
  }

  /** The node gets no error, and waits for notifications that do not come, until its own check fails. */
  async function livesThrough(traffic: 'silent' | 'silent towards the client') {
    const { proxy, isUp, lag, end } = await lab()
    const before = proxy.accepted
    proxy.silence(traffic)
    proxy.flow() // for the next connection; this one stays silent
    const lagsBefore: number[] = []
    while (proxy.accepted === before) lagsBefore.push(await lag())
    await until('the listener is back by itself', () => isUp(1))
    await isWokenByNotifications(lag)
    await end()
    return { lagsBefore }
  }

  // It takes the node some seconds to notice: the other tests run meanwhile.
  let silences: Promise<Awaited<ReturnType<typeof livesThrough>>[]>
  before(() => {
    silences = Promise.all([livesThrough('silent'), livesThrough('silent towards the client')])
    silences.catch(() => {}) // reported by the test that awaits it
  })

  it('lag at most the polling interval while it is cut off, and not at all once it is back (I3)', async () => {
    const { db, proxy, isUp, lag, backends, end } = await lab()
    const lags: number[] = []

    for (const fault of ['cut', 'terminate']) {
      if (fault === 'terminate')
        await db.query(
          `select pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
            where a.datname = current_database() and a.application_name = 'starcite listener'`,
        )
      proxy.refuse() // so that it cannot come back yet
      await until('the node noticed', () => isUp(0))
      lags.push(await lag(), await lag())
      proxy.flow()
      await until('the listener is back by itself', () => isUp(1))
      await isWokenByNotifications(lag)
    }

    expect(Math.max(...lags)).to.be.below(POLL_MS + SLACK_MS)
    await until('one backend, as before', async () => (await backends()) === 1)
    await end()
  })

  it('lose nothing that was notified between a cut and the return, and look at once', async () => {
    const { proxy, tail, lag, end } = await lab()

    for (let round = 0; round < 10; round += 1) {
      proxy.cut()
      expect(await lag()).to.be.below(POLL_MS + SLACK_MS)
    }

    expect(tail.cursor).to.equal(10)
    await end()
  })

  it('are late by no more than a slow link is', async () => {
    const { proxy, lag, end } = await lab()
    proxy.delayMs = 100

    await isWokenByNotifications(lag)

    expect(await lag()).to.be.below(POLL_MS + SLACK_MS)
    await end()
  })

  it('stop at once with their node, in every state of its listener (I9)', async () => {
    const labs = await Promise.all([lab(), lab(), lab()])
    labs[0].proxy.silence()
    labs[1].proxy.silence()
    labs[1].proxy.cut()
    labs[2].proxy.refuse()
    await until('they are down', async () => (await labs[1].isUp(0)) && (await labs[2].isUp(0)))

    await Promise.all(labs.map(({ end }) => end()))
  })

  it('lag at most the polling interval while the link is silent, until that is noticed, too (I3)', async () => {
    for (const { lagsBefore } of await silences) {
      expect(Math.max(...lagsBefore)).to.be.below(POLL_MS + SLACK_MS)
      expect(lagsBefore.length).to.be.at.least(1)
    }
  })
})
