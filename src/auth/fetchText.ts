import { LinkedAbort } from '../lib/linkedAbort.ts'

export interface FetchBounds {
  /** From the request to the last byte. */
  readonly timeoutMs: number
  readonly maxBytes: number
}

/**
 * Fetches a text with GET, within bounds. Rejects when the answer is not 200, does not come in time, is too large, or when the
 * signal is aborted. Does not follow redirects: only the operator chooses where keys come from.
 */
export async function fetchText(url: string, bounds: FetchBounds, signal: AbortSignal): Promise<string> {
  const ending = new LinkedAbort([signal], {
    ms: bounds.timeoutMs,
    reason: () => new Error(`no complete answer within ${bounds.timeoutMs} ms`),
  })
  try {
    const response = await fetch(url, {
      signal: ending.signal,
      redirect: 'error',
      headers: { accept: 'application/jwk-set+json, application/json' },
    })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new Error(`the key server answered ${response.status}`)
    }
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length
      if (bytes > bounds.maxBytes) throw new Error(`the answer is larger than ${bounds.maxBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    ending.release()
  }
}
