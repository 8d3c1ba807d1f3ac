import { LinkedAbort } from '../lib/linkedAbort.ts'

export interface FetchBounds {
  /** From asking to the last byte. */
  readonly timeoutMs: number
  readonly maxBytes: number
}

/**
 * GET, within bounds. Rejects when the answer is not 200, does not come in time, is too large, or when the signal is
 * aborted. Does not follow redirects: where keys come from is for the operator to say.
 */
export async function fetchText(url: string, bounds: FetchBounds, signal: AbortSignal): Promise<string> {
  const ending = new LinkedAbort([signal], {
    ms: bounds.timeoutMs,
    reason: () => new Error(`there was no whole answer within ${bounds.timeoutMs} ms`),
  })
  try {
    const response = await fetch(url, {
      signal: ending.signal,
      redirect: 'error',
      headers: { accept: 'application/jwk-set+json, application/json' },
    })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new Error(`it answered ${response.status}`)
    }
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length
      if (bytes > bounds.maxBytes) throw new Error(`its answer is larger than ${bounds.maxBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    ending.release()
  }
}
