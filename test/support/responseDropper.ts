import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'

/**
 * An HTTP proxy that loses answers: the node gets every request, and of those for which `drops` is true the caller's
 * connection is cut when the answer is there.
 */
export class ResponseDropper {
  readonly #server: Server
  readonly #drops: (nth: number) => boolean
  /** Bodies of the POSTs that came, and whether they were answered. */
  readonly posts: { body: string; answered: boolean }[] = []

  private constructor(server: Server, drops: (nth: number) => boolean) {
    this.#server = server
    this.#drops = drops
  }

  static async start(target: string, drops: (nth: number) => boolean): Promise<ResponseDropper> {
    const server = createServer()
    const proxy = new ResponseDropper(server, drops)
    server.on('request', async (req, res) => {
      const chunks: Buffer[] = []
      for await (const chunk of req) chunks.push(chunk)
      const body = Buffer.concat(chunks)
      const post = { body: String(body), answered: false }
      if (req.method === 'POST') proxy.posts.push(post)
      const nth = proxy.posts.length
      const { host: _, ...headers } = req.headers
      request(new URL(req.url ?? '/', target), { method: req.method ?? 'GET', headers }, async (answer) => {
        const answered: Buffer[] = []
        for await (const chunk of answer) answered.push(chunk)
        if (req.method === 'POST' && proxy.#drops(nth)) return res.destroy()
        post.answered = true
        res.writeHead(answer.statusCode ?? 502, answer.headers).end(Buffer.concat(answered))
        return undefined
      }).end(body)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
