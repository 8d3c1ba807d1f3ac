import { gunzipSync } from 'node:zlib'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import type { S3Settings } from '../../src/objects/s3Store.ts'

interface Version {
  readonly key: string
  readonly id: string
  readonly isCurrent: boolean
  /** Says that the object was deleted. */
  readonly isMarker: boolean
}

/** A bucket of a test's own on a real S3 server, as its owner sees it: with all that was overwritten or deleted. */
export class Bucket {
  readonly settings: S3Settings
  readonly #client: S3Client

  private constructor(settings: S3Settings) {
    const { region, endpoint, credentials } = settings
    this.settings = settings
    this.#client = new S3Client({
      region,
      forcePathStyle: true,
      ...(endpoint && { endpoint }),
      ...(credentials && { credentials }),
    })
  }

  static async create(settings: S3Settings, name: string, isVersioned: boolean): Promise<Bucket> {
    const bucket = new Bucket({ ...settings, bucket: name })
    await bucket.#client.send(new CreateBucketCommand({ Bucket: name }))
    if (isVersioned)
      await bucket.#client.send(
        new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration: { Status: 'Enabled' } }),
      )
    return bucket
  }

  close(): void {
    this.#client.destroy()
  }

  async versions(): Promise<Version[]> {
    const found: Version[] = []
    for (let KeyMarker: string | undefined, VersionIdMarker: string | undefined; ; ) {
      const page = await this.#client.send(
        new ListObjectVersionsCommand({ Bucket: this.settings.bucket, KeyMarker, VersionIdMarker }),
      )
      for (const [entries, isMarker] of [
        [page.Versions, false],
        [page.DeleteMarkers, true],
      ] as const)
        for (const { Key = '', VersionId = '', IsLatest } of entries ?? [])
          found.push({ key: Key, id: VersionId, isCurrent: IsLatest === true, isMarker })
      if (!page.IsTruncated) return found
      KeyMarker = page.NextKeyMarker
      VersionIdMarker = page.NextVersionIdMarker
    }
  }

  /** Objects as they are now, under their keys. */
  async objects(): Promise<Map<string, Buffer>> {
    const objects = new Map<string, Buffer>()
    for (const version of await this.versions())
      if (version.isCurrent && !version.isMarker) objects.set(version.key, await this.#body(version))
    return objects
  }

  /** Objects, of now and of before, in which a text stands, compressed or not. */
  async residue(marker: string): Promise<{ now: string[]; before: string[] }> {
    const residue = { now: [] as string[], before: [] as string[] }
    for (const version of await this.versions())
      if (!version.isMarker && textOf(await this.#body(version)).includes(marker))
        residue[version.isCurrent ? 'now' : 'before'].push(version.key)
    return residue
  }

  /** As a lifecycle rule that expires noncurrent versions, and delete markers with nothing behind them, does in the end. */
  async expireOldVersions(): Promise<void> {
    for (const { key, id, isCurrent, isMarker } of await this.versions())
      if (!isCurrent || isMarker)
        await this.#client.send(
          new DeleteObjectCommand({ Bucket: this.settings.bucket, Key: key, VersionId: id }),
        )
  }

  async #body({ key, id }: Version): Promise<Buffer> {
    const { Body } = await this.#client.send(
      new GetObjectCommand({ Bucket: this.settings.bucket, Key: key, VersionId: id }),
    )
    return Buffer.from((await Body?.transformToByteArray()) ?? [])
  }
}

const isGzip = (body: Buffer) => body[0] === 0x1f && body[1] === 0x8b
const textOf = (body: Buffer) => (isGzip(body) ? gunzipSync(body) : body).toString()
