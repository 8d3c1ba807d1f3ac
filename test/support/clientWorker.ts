import { indexedDbStore } from '../../src/client/outbox/indexedDbStore.ts'
import { Starcite } from '../../src/client/starcite.ts'

/**
 * The script of a worker of a page: it is sent a node and a session, says two things by an outbox in IndexedDB, follows
 * the session until it shows both, and answers with the texts of its events, or in words with what went wrong.
 */
interface Worker {
  onmessage: (message: { data: readonly [url: string, id: string] }) => void
  postMessage(answer: readonly string[] | string): void
}
const worker = globalThis as unknown as Worker

async function speak(url: string, id: string): Promise<readonly string[]> {
  const session = new Starcite<{ said: { text: string } }>({ url }).session(id)
  const outbox = session.outbox({ store: indexedDbStore() })
  for (const text of ['hello', 'from a worker'])
    outbox.send({ type: 'said', payload: { text }, actor: 'user:worker' }).catch(() => {}) // close tells, too
  const texts: string[] = []
  for await (const event of session.tail()) {
    texts.push(event.raw)
    if (event.seq === 2) break
  }
  await outbox.close()
  return texts
}

worker.onmessage = ({ data: [url, id] }) => {
  speak(url, id).then(
    (texts) => worker.postMessage(texts),
    (error) => worker.postMessage(String(error)),
  )
}
