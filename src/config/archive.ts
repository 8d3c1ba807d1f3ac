import type { EnvReader } from '../lib/env.ts'

/** Cold storage. `s3` is set when a bucket keeps the objects, undefined when a table does. */
export function readArchive(read: EnvReader) {
  const bucket = read.text('STARCITE_S3_BUCKET', undefined)
  const adapter = read.oneOf('STARCITE_ARCHIVE_ADAPTER', ['s3', 'postgres'], bucket ? 's3' : 'postgres')
  const credentials = readCredentials(read, adapter === 's3')
  const s3 = {
    region: read.raw('STARCITE_S3_REGION', 'AWS_REGION', 'AWS_DEFAULT_REGION')?.value ?? 'us-east-1',
    endpoint: read.httpUrl('STARCITE_S3_ENDPOINT', 'AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL'),
    credentials,
    prefix: read.text('STARCITE_S3_PREFIX', 'starcite'),
    pathStyle: read.flag('STARCITE_S3_PATH_STYLE', true),
  }
  if (adapter === 'postgres') return { adapter, s3: undefined }
  if (bucket === undefined)
    read.problems.push('STARCITE_S3_BUCKET must be set when STARCITE_ARCHIVE_ADAPTER is s3')
  return { adapter, s3: { bucket: bucket ?? '', ...s3 } }
}

/** Two families of variables. An id of one does not go with a secret of the other. */
const OWN_CREDENTIALS = {
  id: 'STARCITE_S3_ACCESS_KEY_ID',
  secret: 'STARCITE_S3_SECRET_ACCESS_KEY',
  token: 'STARCITE_S3_SESSION_TOKEN',
}
const AWS_CREDENTIALS = {
  id: 'AWS_ACCESS_KEY_ID',
  secret: 'AWS_SECRET_ACCESS_KEY',
  token: 'AWS_SESSION_TOKEN',
}

/** The credentials, or undefined to let the SDK look for them. AWS_* are checked only when there is a bucket. */
function readCredentials(read: EnvReader, isUsed: boolean) {
  const readPair = (names: typeof OWN_CREDENTIALS, isChecked: boolean) => {
    const [id, secret, token] = [read.raw(names.id), read.raw(names.secret), read.raw(names.token)]
    if (id && secret)
      return {
        accessKeyId: id.value,
        secretAccessKey: secret.value,
        ...(token && { sessionToken: token.value }),
      }
    const half = id ?? secret ?? token
    if (half && isChecked)
      for (const [name, found] of [[names.id, id] as const, [names.secret, secret] as const])
        if (!found) read.problems.push(`${name} must be set when ${half.name} is`)
    return undefined
  }
  const own = readPair(OWN_CREDENTIALS, true)
  const hasOwn = Object.values(OWN_CREDENTIALS).some((name) => read.raw(name))
  const shared = readPair(AWS_CREDENTIALS, isUsed && !hasOwn)
  return own ?? (hasOwn ? undefined : shared)
}
