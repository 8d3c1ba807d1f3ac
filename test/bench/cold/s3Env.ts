import type { S3Settings } from '../../../src/objects/s3Store.ts'

/** What makes a node keep its objects there. */
export function s3Env({ bucket, endpoint, credentials, prefix }: S3Settings): Record<string, string> {
  return {
    STARCITE_ARCHIVE_ADAPTER: 's3',
    STARCITE_S3_BUCKET: bucket,
    STARCITE_S3_ENDPOINT: endpoint ?? '',
    STARCITE_S3_PREFIX: prefix,
    STARCITE_S3_ACCESS_KEY_ID: credentials?.accessKeyId ?? '',
    STARCITE_S3_SECRET_ACCESS_KEY: credentials?.secretAccessKey ?? '',
  }
}
