import type * as client from '../../src/client/entry.ts'

/** Where the client under test finds things; see lab.ts. Everything is plain HTTP on loopback. */
export interface Addresses {
  /** A node that wants tokens. */
  readonly node: string
  /** The same through a proxy whose connections `control('cut')` ends. */
  readonly cut: string
  /** The same through a proxy that loses the answer to every second POST. */
  readonly lossy: string
  readonly control: string
}

interface Events {
  readonly said: { readonly n: number }
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)
const said = (n: number) => ({ type: 'said' as const, payload: { n } })

function same(what: string, found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)]
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`)
}

/**
 * Everything that the client promises of a runtime, with nothing but the standards' globals: it runs in any. Rejects at
 * the first thing that is not as it should be; else tells what it did.
 */
export async function exercise(
  { Starcite, StarciteError }: typeof client,
  addresses: Addresses,
): Promise<string[]> {
  const account: string[] = []
  const control = async (word: string) =>
    (await fetch(`${addresses.control}/${word}`, { method: 'POST' })).text()
  const starcite = (url: string, sub = 'user:ann') =>
    new Starcite<Events>({ url, token: () => control(`token?sub=${sub}&seconds=600`) })
  const direct = starcite(addresses.node)
  const read = async (id: string) => {
    const found: number[] = []
    for await (const event of direct.session(id).history()) if (!event.redacted) found.push(event.payload.n)
    return found
  }

  async function sessions(): Promise<void> {
    const made = await direct.createSession({ id: 'a/b c', title: 'One', metadata: { team: 'x' } })
    same('title', made.title, 'One')
    await direct.patch('a/b c', { title: null })
    const listed: string[] = []
    for await (const { id } of direct.listSessions({ metadata: { team: 'x' } })) listed.push(id)
    same('list', listed, ['a/b c'])
    const refused = await direct
      .session('a/b c')
      .append(said(1), { expectedSeq: 5 })
      .catch((error: unknown) => error)
    if (!(refused instanceof StarciteError)) throw new Error(`no StarciteError: ${refused}`)
    same('refusal', [refused.code, refused.details.current_seq], ['expected_seq_conflict', 0])
    account.push('sessions, refusals')
  }

  async function retries(): Promise<void> {
    await direct.createSession({ id: 'retries' })
    const session = starcite(addresses.lossy).session('retries')
    let deduped = 0
    for (const n of numbers(6)) {
      const answer = await session.append({ ...said(n), producer_id: 'p', producer_seq: n })
      same('seq', answer.seq, n)
      if (answer.deduped) deduped += 1
    }
    if (deduped === 0) throw new Error('no answer was lost')
    const outbox = session.outbox({ maxBatch: 5 })
    const sent = numbers(30).map((n) => outbox.send(said(6 + n)))
    await outbox.close()
    same('outbox', (await Promise.all(sent)).at(-1)?.seq, 36)
    same('stored', await read('retries'), numbers(36))
    account.push(`appends: ${deduped} of 6 answers lost and made up for, 30 by an outbox`)
  }

  async function tails(transport: 'auto' | 'sse'): Promise<void> {
    const id = `tail ${transport}`
    await direct.createSession({ id })
    await direct.session(id).appendMany(numbers(10).map(said))
    const found: number[] = []
    const opened: string[] = []
    const stop = new AbortController()
    const options = {
      transport,
      signal: stop.signal,
      onConnection: (state: client.TailState) => void (state.at === 'open' && opened.push(state.transport)),
    }
    for await (const event of starcite(addresses.cut).session(id).tail(options)) {
      if (!event.redacted) found.push(event.payload.n)
      if (event.seq === 10 || event.seq === 15) {
        await control('cut')
        await direct.session(id).appendMany(numbers(5).map((n) => said(event.seq + n)))
      }
      if (event.seq === 20) stop.abort()
    }
    same('tail', found, numbers(20))
    same('connections', opened, Array(3).fill(transport === 'auto' ? 'websocket' : 'sse'))

    const all: number[] = []
    for await (const event of direct.session(id).tail({ transport, follow: false })) all.push(event.seq)
    same('tail to an end', all, numbers(20))
    account.push(`tail by ${opened[0]}: cut twice, whole; to an end`)
  }

  /** The reader stops for long in the midst of more than the client holds back. */
  async function slowReader(): Promise<void> {
    await direct.createSession({ id: 'slow' })
    const text = 'x'.repeat(20_000)
    for (let from = 0; from < 400; from += 100)
      await direct
        .session('slow')
        .appendMany(numbers(100).map((n) => ({ type: 'said', payload: { n: from + n, text } })))
    const found: number[] = []
    for await (const event of direct.session('slow').tail()) {
      if (!event.redacted) found.push(event.payload.n)
      if (event.seq % 100 === 1) await read('retries') // the network has its turn meanwhile
      if (event.seq === 400) break
    }
    same('slow reader', found, numbers(400))
    account.push('a tail of 8 MB')
  }

  async function renewal(transport: 'auto' | 'sse'): Promise<void> {
    const id = `renewal ${transport}`
    await direct.createSession({ id })
    let tokens = 0
    const url = addresses.node
    const token = async () => {
      tokens += 1
      if (tokens > 1) await direct.session(id).append(said(tokens - 1)) // seen by clients that reconnect
      return control('token?sub=user:ann&seconds=2')
    }
    const found: number[] = []
    const session = new Starcite<Events>({ url, token }).session(id)
    for await (const event of session.tail({ transport })) {
      if (!event.redacted) found.push(event.payload.n)
      if (event.seq === 2) break
    }
    same('renewed tail', found, [1, 2])
    account.push(`a token that ends, twice, in a tail by ${transport}`)
  }

  async function lifecycle(): Promise<void> {
    const feed = starcite(addresses.cut, 'service:watch').lifecycle({ cursor: '0.0' })
    const kinds: string[] = []
    for await (const { event } of feed) {
      if (!['late', 'retries'].includes(event.session_id)) continue
      kinds.push(`${event.session_id} ${event.kind.replace('session.', '')}`)
      if (kinds.length === 3) {
        await control('cut')
        await direct.createSession({ id: 'late' })
        await direct.session('late').append(said(1))
      }
      if (kinds.length === 6) break
    }
    const each = (id: string) => ['activated', 'created', 'appended'].map((kind) => `${id} ${kind}`)
    same('lifecycle', kinds, [...each('retries'), ...each('late')])
    account.push('lifecycle, cut')
  }

  await sessions()
  await retries()
  await tails('auto')
  await tails('sse')
  await slowReader()
  await Promise.all([renewal('auto'), renewal('sse'), lifecycle()])
  return account
}
