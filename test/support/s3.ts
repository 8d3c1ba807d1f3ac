import { randomUUID } from 'node:crypto'
import type { S3Settings } from '../../src/objects/s3Store.ts'
import { hasRadosgw, startRadosgw } from './radosgw.ts'
import { S3Server } from './s3Server.ts'

type Kind = 'given' | 'radosgw' | 'in-process'

/** ENDPOINT, and as far as they differ from what is below BUCKET, REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY and so on. */
const env = (name: string) => process.env[`STARCITE_TEST_S3_${name}`]

const kind: Kind = env('ENDPOINT') ? 'given' : hasRadosgw() ? 'radosgw' : 'in-process'

/** In words, for the titles of tests: a run without a real server must show in the report. */
export const TEST_S3 = {
  given: 'the S3 server of STARCITE_TEST_S3_ENDPOINT',
  radosgw: "Ceph's gateway, a real S3 server",
  'in-process':
    'NO REAL S3 SERVER HERE, so our in-process one (install radosgw, ceph-mon, ceph-osd and ceph-common, ' +
    'or set STARCITE_TEST_S3_ENDPOINT)',
}[kind]

const stopping = new AbortController()
let running: Promise<{ settings: S3Settings; stop: () => Promise<void> }> | undefined

/** May take a while the first time: give the hook that calls it this much. */
export const TEST_S3_START_MS = 180_000

/** A bucket for tests, one for this process; each test keeps to a prefix or keys of its own. */
export async function testS3(): Promise<S3Settings> {
  // A failed start is forgotten, so that each test reports it.
  running ??= start().catch((cause) => {
    running = undefined
    throw cause
  })
  return (await running).settings
}

/** Also one that is just starting, because the hook that waited for it did not wait for long enough. */
export async function stopTestS3(): Promise<void> {
  stopping.abort(new Error('the tests are over'))
  const server = await running?.catch(() => undefined)
  running = undefined
  await server?.stop()
}

async function start(): Promise<{ settings: S3Settings; stop: () => Promise<void> }> {
  if (process.send) return { settings: await askRunner(), stop: async () => {} }
  if (kind === 'radosgw') return startRadosgw(stopping.signal)
  if (kind === 'in-process') {
    const server = await S3Server.start()
    return { settings: server.settings, stop: () => server.stop() }
  }
  const [accessKeyId, secretAccessKey, sessionToken] = [
    env('ACCESS_KEY_ID'),
    env('SECRET_ACCESS_KEY'),
    env('SESSION_TOKEN'),
  ]
  const settings: S3Settings = {
    bucket: env('BUCKET') ?? 'starcite-test',
    region: env('REGION') ?? 'us-east-1',
    endpoint: env('ENDPOINT'),
    credentials:
      accessKeyId && secretAccessKey
        ? { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) }
        : undefined,
    prefix: `starcite-test-${randomUUID()}`,
    pathStyle: env('PATH_STYLE') !== 'false',
  }
  return { settings, stop: async () => {} }
}

/** `npm test` starts one server for all its workers; each has a prefix of its own. */
function askRunner(): Promise<S3Settings> {
  return new Promise((resolve, reject) => {
    const listen = (message: { s3?: S3Settings; s3Failed?: string }) => {
      if (message.s3 === undefined && message.s3Failed === undefined) return
      process.off('message', listen)
      if (message.s3) resolve({ ...message.s3, prefix: `starcite-test-${randomUUID()}` })
      else reject(new Error(message.s3Failed))
    }
    process.on('message', listen)
    process.send?.({ wants: 's3' })
  })
}
