import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import type { Starcite } from '../../src/client/starcite.ts'

const CLIENT = new URL('../../src/client/', import.meta.url)
const OPTIONS = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  outdir: 'out',
  write: false,
  metafile: true,
} satisfies BuildOptions

/** Gzipped bytes, as docs/client.md says them; a little more may be added without saying so. */
const MAX_BYTES = { core: 10_000, client: 14_700, sharing: 6700, whole: 20_000 }

/** The sizes of what a page loads at first, and of what it loads on demand. */
async function sizesOf(entry: string, options: BuildOptions = {}): Promise<{ first: number; later: number }> {
  const entryPoints = [fileURLToPath(new URL(entry, CLIENT))]
  const { outputFiles = [], metafile } = await build({ ...OPTIONS, ...options, entryPoints, write: false })
  const outputs = new Map(Object.entries(metafile?.outputs ?? {}))
  const sizes = new Map(
    outputFiles.map((outputFile) => {
      expect(outputFile.text).not.to.match(/\b(process|Buffer|require)\b/)
      return [
        path.relative(process.cwd(), outputFile.path),
        gzipSync(outputFile.contents, { level: 9 }).length,
      ] as const
    }),
  )
  const first = new Set(
    [...outputs].flatMap(([name, member]) => (member.entryPoint?.endsWith(entry) ? [name] : [])),
  )
  for (const name of first)
    for (const edge of outputs.get(name)?.imports ?? [])
      if (edge.kind === 'import-statement') first.add(edge.path)
  const sum = (names: Iterable<string>) =>
    [...names].reduce((bytes, name) => bytes + (sizes.get(name) ?? 0), 0)
  return { first: sum(first), later: sum(sizes.keys()) - sum(first) }
}

/** Runs what a bundler has made: the paths to which a tail on a shared connection opens WebSockets. */
async function socketsOf(options: BuildOptions): Promise<string[]> {
  const outdir = await mkdtemp(path.join(tmpdir(), 'starcite-client-'))
  try {
    const entryPoints = [fileURLToPath(new URL('entry.ts', CLIENT))]
    await build({ ...OPTIONS, ...options, entryPoints, outdir, outExtension: { '.js': '.mjs' }, write: true })
    const client = (await import(pathToFileURL(path.join(outdir, 'entry.mjs')).href)) as {
      Starcite: typeof Starcite
    }
    const paths: string[] = []
    const abort = new AbortController()
    class Socket {
      constructor(url: string) {
        paths.push(new URL(url).pathname)
        abort.abort()
      }
      addEventListener() {}
      close() {}
      send() {}
    }
    const fetch = async () => new Response('{"events":[],"next_cursor":0,"last_seq":0}')
    const starcite = new client.Starcite({
      url: 'http://node.example',
      share: 'page',
      fetch,
      WebSocket: Socket,
    })
    for await (const _ of starcite.session('ses').tail({ signal: abort.signal }));
    return paths
  } finally {
    await rm(outdir, { recursive: true })
  }
}

const withoutSharing: Plugin = {
  name: 'the chunk for sharing cannot be loaded',
  setup: (build) =>
    build.onLoad({ filter: /sharedConnections\.ts$/ }, () => ({
      contents: 'throw new Error("no such file")',
    })),
}

describe('the bundle of the client', () => {
  it('is made for browsers without anything of Node.js, and is as small as the docs say', async () => {
    const core = await sizesOf('core/entry.ts', { splitting: true })
    const client = await sizesOf('entry.ts', { splitting: true })
    const whole = await sizesOf('entry.ts')

    expect(core.first).to.be.within(1000, MAX_BYTES.core)
    expect(core.later).to.be.within(1000, MAX_BYTES.sharing)
    expect(client.first).to.be.within(core.first, MAX_BYTES.client)
    expect(client.later).to.be.within(1000, MAX_BYTES.sharing)
    expect(whole.first).to.be.within(client.first, MAX_BYTES.whole)
  })

  it('loads what shares connections with the first tail that shares one', async () => {
    expect(await socketsOf({ splitting: true })).to.deep.equal(['/v1/socket/websocket'])
  })

  it('gives a tail a connection of its own where what shares connections cannot be loaded', async () => {
    expect(await socketsOf({ splitting: true, plugins: [withoutSharing] })).to.deep.equal([
      '/v1/sessions/ses/tail',
    ])
  })
})
