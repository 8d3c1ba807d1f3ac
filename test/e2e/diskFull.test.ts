import { cp, rm, symlink } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'chai'
import { isServerOf } from '../../src/db/embedded/postmaster.ts'
import type { Service } from '../../src/service.ts'
import { faultsOfLog } from '../support/chain.ts'
import { type Answer, call } from '../support/client.ts'
import { EmbeddedPostgresLab, query } from '../support/embeddedPostgres.ts'
import { startNode } from '../support/node.ts'
import { ResumingTail } from '../support/resumingTail.ts'
import { SLACK_MS } from '../support/slack.ts'
import { SmallDisk } from '../support/smallDisk.ts'
import { connect } from '../support/template.ts'
import { timed, until } from '../support/until.ts'
import { useEach } from '../support/use.ts'

const TIMEOUT_MS = 1000
/** Many times what the disk holds, of appends of 110 KB. */
const MAX_APPENDS = 1500

describe('a node, when the disk is full', function () {
  this.timeout(120_000)
  const lab = useEach(() => EmbeddedPostgresLab.open())
  let disk: SmallDisk
  let node: Service | undefined
  let tail: ResumingTail | undefined

  beforeEach(async function () {
    const mounted = await SmallDisk.mount(lab.path('disk'), 64)
    if (mounted === undefined) {
      console.log('      NOT TESTED: mounting a small file system takes root and the right to mount')
      this.skip()
    }
    disk = mounted
  })
  afterEach(async () => {
    tail?.stop()
    await node?.stop()
    // Postgres goes first, and then the disk under it.
    await lab.stopServers()
    await disk?.unmount()
  })

  async function startOn(database: { url: string }): Promise<Service> {
    node = await startNode(database, {
      STARCITE_STORAGE_TIMEOUT: `${TIMEOUT_MS}ms`,
      STARCITE_POLL_INTERVAL: '200ms',
    })
    const { url } = node
    await call('POST', `${url}/v1/sessions`, { id: 's' })
    tail = new ResumingTail(() => url, 's')
    return node
  }

  const append = ({ url }: Service) =>
    call('POST', `${url}/v1/sessions/s/append`, { type: 't', payload: { text: noise() } })

  /** One after the other, until one is not taken; which is answered. */
  async function appendUntilRefused(to: Service, acknowledged: Set<number>): Promise<Answer> {
    for (let i = 0; i < MAX_APPENDS; i += 1) {
      const { value, ms } = await timed(append(to))
      expect(ms).to.be.below(TIMEOUT_MS + SLACK_MS)
      if (value.status !== 201) return value
      acknowledged.add(value.json.seq)
    }
    throw new Error(`the disk took ${MAX_APPENDS} appends`)
  }

  const appendsAgain = (to: Service, acknowledged: Set<number>) =>
    until('it appends again', async () => {
      const { status, json } = await append(to)
      if (status === 201) acknowledged.add(json.seq)
      return status === 201
    })

  /** Checks that every acknowledged event is stored, the log has no gap, and the tail has seen all of it. */
  async function expectAllThere(url: string, acknowledged: Set<number>): Promise<void> {
    const db = await connect({ url })
    const { rows } = await db.query('select e.seq::int from starcite.events e')
    const faults = await faultsOfLog(db, 's')
    await db.end()
    const stored = new Set(rows.map(({ seq }) => seq as number))
    expect([...acknowledged].filter((seq) => !stored.has(seq))).to.deep.equal([])
    expect(faults).to.deep.equal([])
    await until('the tail has it all', () => tail?.cursor === stored.size)
    expect(tail?.faults).to.deep.equal([])
    expect(tail?.connections).to.equal(1)
  }

  it('of the tables: 503, nothing stored, reads go on; and appends again once there is room (I1, I2)', async () => {
    const server = await lab.start()
    await query(server, `create tablespace small location '${await disk.directory('tables')}'`)
    await query(server, 'create database full_soon tablespace small')
    const url = new URL(server.url)
    url.pathname = '/full_soon'
    const on = await startOn({ url: url.href })
    const acknowledged = new Set<number>([(await append(on)).json.seq])

    await disk.fill()
    const refused = await appendUntilRefused(on, acknowledged)
    const reading = await call('GET', `${on.url}/v1/sessions/s/events`)
    await disk.makeRoom()
    await appendsAgain(on, acknowledged)

    expect(refused.status, refused.text).to.equal(503)
    expect(refused.json).to.include({ error: 'storage_unavailable' })
    expect(refused.json.outcome_unknown).to.equal(undefined)
    expect(refused.headers.get('retry-after')).to.equal('1')
    expect(reading.status).to.equal(200)
    await expectAllThere(url.href, acknowledged)
  })

  it('of the write-ahead log, which ends the server: 503; and all of it is there after its restart (I1, I2)', async () => {
    const settings = { min_wal_size: '32MB', max_wal_size: '32MB', synchronous_commit: 'on' }
    const first = await lab.start({ settings })
    const { port, dir } = first
    await first.stop()
    const wal = path.join(dir, 'pg_wal')
    const moved = await disk.directory('wal')
    await cp(wal, moved, { recursive: true })
    await disk.own(moved)
    await rm(wal, { recursive: true })
    await symlink(moved, wal)
    const server = await lab.start({ settings, port })
    const on = await startOn(server)
    const acknowledged = new Set<number>()

    await disk.fill()
    const refused = await appendUntilRefused(on, acknowledged)
    await until('the server has ended', async () => !(await isServerOf(server.pid, dir)))
    const away = await timed(append(on))
    await disk.makeRoom()
    const again = await lab.start({ settings, port })
    await appendsAgain(on, acknowledged)

    for (const answer of [refused, away.value]) {
      expect(answer.status, answer.text).to.equal(503)
      expect(answer.json).to.include({ error: 'storage_unavailable' })
    }
    expect(away.ms).to.be.below(TIMEOUT_MS + SLACK_MS)
    await expectAllThere(again.url, acknowledged)
  })
})

/** Text that does not compress. */
function noise(): string {
  return Array.from({ length: 10_000 }, () => Math.random().toString(36).slice(2)).join('')
}
