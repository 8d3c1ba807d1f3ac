import { Agent } from 'node:http'
import { Agent as TlsAgent } from 'node:https'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { Attempts, RETRY_POLICY, type RetryPolicy } from './attempts.ts'
import { type ObjectStore, ObjectStoreError, type StoredObject } from './objectStore.ts'
import { readExactly } from './s3Body.ts'
import { explainS3Error, isAbsent, isConditionUnknown, isDenied, isPreconditionFailed } from './s3Errors.ts'

export interface S3Settings {
  readonly bucket: string
  readonly region: string
  /** Absent: Amazon's endpoint for the region. */
  readonly endpoint: string | undefined
  /** Absent: the SDK's default chain (environment, profile, web identity, instance metadata). */
  readonly credentials: S3Credentials | undefined
  /** Precedes every key, with a slash between. */
  readonly prefix: string
  /** endpoint/bucket/key rather than bucket.endpoint/key. */
  readonly pathStyle: boolean
}

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** More requests wait for a socket, within the time-out of their attempt. */
const MAX_SOCKETS = 32
const CONNECT_MS = 3000

/**
 * Objects in a bucket of Amazon S3, or of a compatible server (MinIO, R2, Tigris, Ceph).
 *
 * An object is created with `If-None-Match: *`. Some servers ignore the condition, and would silently overwrite: so
 * each PUT follows a HEAD, which also saves a resumed job the upload of objects that exist. On such a server two
 * writers of one key in the same moment could still overwrite, and keys are digests of the content.
 */
export class S3Store implements ObjectStore {
  readonly name = 's3'
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #attempts: Attempts

  constructor(settings: S3Settings, policy: RetryPolicy = RETRY_POLICY) {
    this.#bucket = settings.bucket
    const prefix = settings.prefix.replace(/^\/+|\/+$/g, '')
    this.#prefix = prefix === '' ? '' : `${prefix}/`
    this.#attempts = new Attempts(policy, explainS3Error)
    this.#client = new S3Client({
      region: settings.region,
      forcePathStyle: settings.pathStyle,
      ...(settings.endpoint && { endpoint: settings.endpoint }),
      ...(settings.credentials && { credentials: settings.credentials }),
      // Attempts are repeated by Attempts, because the SDK's own retries end where the body of a response begins.
      maxAttempts: 1,
      // The SDK's own checksums are framed into the body, which S3-compatible servers refuse or store as content. The
      // signature covers a digest of the request; the reader verifies what it reads.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      // With `Expect` the SDK would open a connection outside of the agent for every PUT.
      expectContinueHeader: false,
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        httpAgent: new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
        httpsAgent: new TlsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
        logger: SILENT,
      },
      logger: SILENT,
    })
  }

  putNew(key: string, body: Buffer, signal?: AbortSignal): Promise<'created' | 'exists'> {
    const object = this.#object(key)
    return this.#attempts.run(`put ${key}`, signal, async (abortSignal) => {
      if (await this.#isThere(object, abortSignal)) return 'exists'
      try {
        await this.#client.send(new PutObjectCommand({ ...object, Body: body, IfNoneMatch: '*' }), {
          abortSignal,
        })
      } catch (error) {
        if (isPreconditionFailed(error)) return 'exists'
        if (!isConditionUnknown(error)) throw error
        await this.#client.send(new PutObjectCommand({ ...object, Body: body }), { abortSignal })
      }
      return 'created'
    })
  }

  get(key: string, signal?: AbortSignal): Promise<Buffer> {
    return this.#attempts.run(`get ${key}`, signal, async (abortSignal) => {
      const answer = await this.#client.send(new GetObjectCommand(this.#object(key)), { abortSignal })
      return readExactly(answer.Body, answer.ContentLength)
    })
  }

  getRange(key: string, offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    const last = offset + length - 1
    const range = `bytes=${offset}-${last}`
    return this.#attempts.run(`get ${key} ${range}`, signal, async (abortSignal) => {
      const answer = await this.#client.send(new GetObjectCommand({ ...this.#object(key), Range: range }), {
        abortSignal,
      })
      const given = answer.ContentRange?.split('/')[0]
      if (given === `bytes ${offset}-${last}`)
        return readExactly(answer.Body, length)
        // An unread body would keep its socket.
      ;(answer.Body as { destroy?: () => void } | undefined)?.destroy?.()
      throw new ObjectStoreError('damaged', `the store answered ${given ?? 'without a range'}`)
    })
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.#attempts.run(`delete ${key}`, signal, async (abortSignal) => {
      try {
        await this.#client.send(new DeleteObjectCommand(this.#object(key)), { abortSignal })
      } catch (error) {
        if (explainS3Error(error) !== 'missing') throw error
      }
    })
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    let next: string | undefined
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ContinuationToken: next,
      })
      const page = await this.#attempts.run(`list ${prefix}`, signal, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      )
      for (const { Key, Size } of page.Contents ?? [])
        if (Key !== undefined) yield { key: Key.slice(this.#prefix.length), bytes: Size ?? 0 }
      next = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (next !== undefined)
  }

  async stop(): Promise<void> {
    this.#attempts.stop()
    this.#client.destroy()
  }

  #object(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key }
  }

  async #isThere(object: { Bucket: string; Key: string }, abortSignal: AbortSignal): Promise<boolean> {
    try {
      await this.#client.send(new HeadObjectCommand(object), { abortSignal })
      return true
    } catch (error) {
      // Without the right to list, S3 answers 403 for missing objects; the PUT then decides.
      if (isAbsent(error) || isDenied(error)) return false
      throw error
    }
  }
}

const ignore = () => {}
/** Otherwise the SDK warns on the console. */
const SILENT = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore }
