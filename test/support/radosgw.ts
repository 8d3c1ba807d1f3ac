import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'
import { freePort, LOOPBACK } from '../../src/db/embedded/ports.ts'
import type { S3Settings } from '../../src/objects/s3Store.ts'
import { makeScratch } from './scratch.ts'
import { until } from './until.ts'

/** From Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common; setpriv is util-linux's. */
const PROGRAMS = [
  'radosgw',
  'radosgw-admin',
  'ceph-mon',
  'ceph-osd',
  'ceph',
  'ceph-authtool',
  'monmaptool',
  'setpriv',
]
const CREDENTIALS = { accessKeyId: 'testkey', secretAccessKey: 'testsecret' }
const STEP_MS = 60_000
/** The ports were free a moment before; another process may have taken one since. */
const STARTS = 3

/** Whether this machine can start the real thing. */
export function hasRadosgw(): boolean {
  const folders = (process.env.PATH ?? '').split(path.delimiter)
  return PROGRAMS.every((program) => folders.some((folder) => existsSync(path.join(folder, program))))
}

/** Ceph's gateway, a real S3 server, with the monitor and the one in-memory OSD that it stands on. On loopback. */
export interface Radosgw {
  readonly settings: S3Settings & { readonly endpoint: string }
  stop(): Promise<void>
}

/**
 * Starts in some fifteen seconds. The kernel ends the daemons with this process, however that ends, and their folder
 * goes with `stop`, or with the next start. The signal gives the start up.
 */
export async function startRadosgw(signal?: AbortSignal): Promise<Radosgw> {
  for (let start = 1; ; start += 1) {
    const cluster = new Cluster(await makeScratch('radosgw'), signal)
    try {
      return { settings: await cluster.start(), stop: () => cluster.stop() }
    } catch (cause) {
      await cluster.stop()
      if (start >= STARTS || signal?.aborted) throw cause
    }
  }
}

class Cluster {
  readonly #dir: string
  readonly #daemons: { name: string; child: ChildProcess }[] = []

  readonly #signal: AbortSignal | undefined

  constructor(dir: string, signal: AbortSignal | undefined) {
    this.#dir = dir
    this.#signal = signal
  }

  async start(): Promise<S3Settings & { readonly endpoint: string }> {
    const [gateway, monitor, monitorV1] = [await freePort(), await freePort(), await freePort()]
    const monitors = `[v2:${LOOPBACK}:${monitor},v1:${LOOPBACK}:${monitorV1}]`
    const fsid = randomUUID()
    for (const name of ['mon', 'osd', 'rgw', 'log']) await mkdir(this.#file(name))
    await writeFile(this.#file('ceph.conf'), this.#config(fsid, monitors, gateway))
    const keyring = this.#file('keyring')
    const caps = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *']

    await this.#run(
      'ceph-authtool',
      '--create-keyring',
      keyring,
      '--gen-key',
      '-n',
      'mon.',
      '--cap',
      'mon',
      'allow *',
    )
    await this.#run('ceph-authtool', keyring, '--gen-key', '-n', 'client.admin', ...caps)
    await this.#run('monmaptool', '--create', '--fsid', fsid, '--addv', 'a', monitors, this.#file('monmap'))
    await this.#run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', this.#file('monmap'), '--keyring', keyring)
    await this.#daemon('ceph-mon', '-i', 'a')

    const osd = randomUUID()
    await this.#run('ceph', '-k', keyring, 'osd', 'new', osd)
    await this.#run(
      'ceph-authtool',
      keyring,
      '--gen-key',
      '-n',
      'osd.0',
      '--cap',
      'mon',
      'allow profile osd',
      '--cap',
      'osd',
      'allow *',
    )
    await this.#run('ceph', '-k', keyring, 'auth', 'import', '-i', keyring)
    await this.#run('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd)
    await this.#daemon('ceph-osd', '-i', '0')

    const { accessKeyId, secretAccessKey } = CREDENTIALS
    await this.#run(
      'radosgw-admin',
      'user',
      'create',
      '--uid=test',
      '--display-name=test',
      `--access-key=${accessKeyId}`,
      `--secret=${secretAccessKey}`,
    )
    await this.#daemon('radosgw', '-n', 'client.admin')
    await until(
      'radosgw listens',
      () => {
        this.#failIfOneEnded()
        return isListening(gateway)
      },
      STEP_MS,
    )
    const settings: S3Settings & { readonly endpoint: string } = {
      bucket: 'starcite-test',
      region: 'us-east-1',
      endpoint: `http://${LOOPBACK}:${gateway}`,
      credentials: CREDENTIALS,
      prefix: 'starcite',
      pathStyle: true,
    }
    await createBucket(settings, this.#signal)
    return settings
  }

  async stop(): Promise<void> {
    for (const { child } of this.#daemons.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGKILL') // what they keep is thrown away
      await ended
    }
    await rm(this.#dir, { recursive: true, force: true })
  }

  #file(name: string): string {
    return path.join(this.#dir, name)
  }

  async #run(program: string, ...args: string[]): Promise<void> {
    const child = spawn(program, args, {
      env: this.#env(),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: STEP_MS,
      ...(this.#signal && { signal: this.#signal }),
    })
    child.on('error', () => {}) // which also says that it was aborted; it is closed then
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    const [code, signal] = await once(child, 'close')
    if (code !== 0)
      throw new Error(`${program} ${args.join(' ')}: ${signal ?? `exit code ${code}`}\n${output}`)
    this.#failIfOneEnded()
  }

  async #daemon(program: string, ...args: string[]): Promise<void> {
    await using log = await open(this.#file(`log/${program}.out`), 'w')
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args, '-f'], {
      env: this.#env(),
      stdio: ['ignore', log.fd, log.fd],
    })
    await once(child, 'spawn')
    child.unref()
    this.#daemons.push({ name: program, child })
  }

  #failIfOneEnded(): void {
    this.#signal?.throwIfAborted()
    for (const { name, child } of this.#daemons)
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`${name} ended: ${child.signalCode ?? `exit code ${child.exitCode}`}`)
  }

  #env(): NodeJS.ProcessEnv {
    return { PATH: process.env.PATH, HOME: this.#dir, LANG: 'C.UTF-8', CEPH_CONF: this.#file('ceph.conf') }
  }

  #config(fsid: string, monitors: string, gatewayPort: number): string {
    return `[global]
fsid = ${fsid}
mon host = ${monitors}
public addr = ${LOOPBACK}
cluster addr = ${LOOPBACK}
keyring = ${this.#file('keyring')}
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
rgw rados pool pg num min = 1
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
run dir = ${this.#dir}
log file = ${this.#file('log/$name.log')}
mon cluster log file = ${this.#file('log/cluster.log')}
admin socket = ${this.#file('$name.asok')}
mon data = ${this.#file('mon')}
osd data = ${this.#file('osd')}
osd objectstore = memstore
memstore device bytes = 2147483648
[client.admin]
rgw frontends = beast endpoint=${LOOPBACK}:${gatewayPort} tcp_nodelay=1
rgw data = ${this.#file('rgw')}
rgw thread pool size = 32
`
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: LOOPBACK, port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function createBucket(
  { bucket, region, endpoint, credentials }: S3Settings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3')
  const client = new S3Client({
    region,
    forcePathStyle: true,
    ...(endpoint && { endpoint }),
    ...(credentials && { credentials }),
  })
  // A gateway whose pools cannot be made answers never, and the SDK waits for ever.
  const abortSignal = AbortSignal.any([AbortSignal.timeout(STEP_MS), ...(signal ? [signal] : [])])
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }), { abortSignal })
  } finally {
    client.destroy()
  }
}
