import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { EmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { EmbeddedPostgresLab, query } from './embeddedPostgres.ts'
import { until } from './until.ts'

/** Commits wait for the standby, as where no acknowledged one may be lost; neither waits for a disk. */
const SETTINGS = { synchronous_commit: 'on', hot_standby: 'on', wal_keep_size: '128MB' }

/** A primary, and a hot standby that has every commit before it is acknowledged. */
export class ReplicatedPostgres {
  readonly lab: EmbeddedPostgresLab
  readonly primary: EmbeddedPostgres
  readonly standby: EmbeddedPostgres

  private constructor(lab: EmbeddedPostgresLab, primary: EmbeddedPostgres, standby: EmbeddedPostgres) {
    this.lab = lab
    this.primary = primary
    this.standby = standby
  }

  /** The standby follows the primary by way of what `way` makes of it. */
  static async start(
    way: (primary: EmbeddedPostgres) => Promise<{ readonly url: string }> = async (primary) => primary,
  ): Promise<ReplicatedPostgres> {
    const lab = await EmbeddedPostgresLab.open()
    const first = await lab.start({ settings: SETTINGS })
    await first.stop()
    const copy = path.join(path.dirname(first.dir), 'standby')
    await promisify(execFile)('cp', ['-a', first.dir, copy])
    await writeFile(path.join(copy, 'standby.signal'), '')

    const primary = await lab.start({ settings: SETTINGS })
    const { port } = new URL((await way(primary)).url)
    const conninfo = `host=127.0.0.1 port=${port} user=postgres application_name=standby`
    const standby = await lab.start({ dir: copy, settings: { ...SETTINGS, primary_conninfo: conninfo } })
    await setAndReload(primary, 'synchronous_standby_names', '*')
    await until('the standby takes every commit', async () => {
      const [row] = await query(primary, 'select r.sync_state from pg_catalog.pg_stat_replication r')
      return row?.sync_state === 'sync'
    })
    return new ReplicatedPostgres(lab, primary, standby)
  }

  /** Makes the standby a primary of its own. */
  async promote(): Promise<void> {
    await query(this.standby, 'select pg_catalog.pg_promote()')
  }

  async end(): Promise<void> {
    await this.lab.end()
  }
}

/** Sets a server's parameter, for connections that are open too. */
export async function setAndReload(server: { port: number }, name: string, value: string): Promise<void> {
  await query(server, `alter system set ${name} = '${value}'`)
  await query(server, 'select pg_catalog.pg_reload_conf()')
  await until(`${name} is ${value}`, async () => {
    const [row] = await query(server, `select current_setting('${name}') as value`)
    return row?.value === value
  })
}
