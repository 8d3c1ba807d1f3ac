import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { type Account, MemoryBudget } from '../lib/memoryBudget.ts'
import { AppError } from '../protocol/errors.ts'

export type BodyKind = 'json' | 'ndjson'

/** The node reads and discards up to this much of a body that is too large, so that its sender receives the 413 and not a reset. */
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024

/** The client disconnected before its request was complete, so no response can be sent. */
export class ClientGoneError extends Error {
  override readonly name = 'ClientGoneError'
}

/** The kind of the body, by its Content-Type; JSON without one. Throws unsupported_media_type. */
export function bodyKind(req: IncomingMessage, allowed: readonly BodyKind[]): BodyKind {
  const refuse = (what: string) => {
    const types = allowed
      .map((kind) => (kind === 'json' ? 'application/json' : 'application/x-ndjson'))
      .join(' or ')
    return new AppError('unsupported_media_type', `${what}; send ${types} in UTF-8`)
  }
  const encoding = req.headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity')
    throw refuse(`Content-Encoding ${JSON.stringify(encoding)} is not supported`)
  const header = req.headers['content-type']
  if (header === undefined) return 'json'
  const [type = '', ...parameters] = header.split(';').map((part) => part.trim().toLowerCase())
  const charset = parameters.find((part) => part.startsWith('charset='))?.slice('charset='.length)
  if (charset !== undefined && !/^"?utf-?8"?$/.test(charset))
    throw refuse(`charset ${charset} is not supported`)
  if (/^application\/(.+\+)?json$/.test(type)) return 'json'
  if (/^application\/(x-)?(ndjson|jsonl)$/.test(type) && allowed.includes('ndjson')) return 'ndjson'
  throw refuse(`Content-Type ${JSON.stringify(header)} is not supported here`)
}

/** After this many chunks they are joined to one: a small chunk takes many times its size in memory. Each byte is copied once. */
const MAX_CHUNKS = 1024

/**
 * Reads the whole body as text. Throws body_too_large, append_backpressure (when the memory account that `open` returns is
 * full), invalid_json (not UTF-8), ClientGoneError.
 */
export function readBody(
  req: IncomingMessage,
  maxBytes: number,
  open: () => Account = () => new MemoryBudget(Number.POSITIVE_INFINITY).open(undefined),
): Promise<string> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = []
    let recent: Buffer[] = []
    let bytes = 0
    let account: Account | undefined
    const expectedBytes = Number(req.headers['content-length'])
    /** Accounts for the bytes received, unless the whole body arrived in one chunk, which is parsed at once. */
    const hold = () => {
      if (bytes === expectedBytes && chunks.length === 0 && recent.length === 1) return true
      account ??= open()
      return account.resize(bytes)
    }
    let settled = false
    let refusal: AppError | undefined
    const refuse = (error: AppError) => {
      refusal = error
      chunks = recent = []
      account?.close()
    }
    const onData = (chunk: Buffer) => {
      if (settled) return
      bytes += chunk.length
      if (refusal === undefined) {
        recent.push(chunk)
        if (recent.length === MAX_CHUNKS) chunks.push(Buffer.concat(recent.splice(0)))
        if (bytes > maxBytes) refuse(tooLarge(maxBytes))
        else if (!hold()) refuse(noMemory())
      } else if (bytes > MAX_DISCARDED_BYTES) settle(() => reject(refusal))
    }
    const onEnd = () =>
      settle(() => {
        if (refusal !== undefined) return reject(refusal)
        const all = chunks.length === 0 ? recent : [...chunks, ...recent]
        const body = all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all)
        if (!isUtf8(body)) return reject(new AppError('invalid_json', 'the body is not valid UTF-8'))
        resolve(body.toString('utf8'))
      })
    const onGone = () => settle(() => reject(new ClientGoneError('the client went away')))
    // The listeners are collected with the request; removing them one by one would cost more than it frees.
    const settle = (act: () => void) => {
      if (settled) return
      settled = true
      account?.close()
      act()
      chunks = recent = []
    }
    req.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone)
  })
}

const tooLarge = (maxBytes: number) =>
  new AppError('body_too_large', `the body is larger than ${maxBytes} bytes`, { max_bytes: maxBytes })

const noMemory = () =>
  new AppError('append_backpressure', 'the memory for request bodies is full; send the request again later', {
    retry_after_ms: 1000,
  })
