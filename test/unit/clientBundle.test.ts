import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { build } from 'esbuild'

/** docs/client.md says how large the client is; a little more may be added without saying so. */
const MAX_BYTES = 19_000

describe('the bundle of the client', () => {
  it('is made for browsers without anything of Node.js, and is as small as the docs say', async () => {
    const entry = fileURLToPath(new URL('../../src/client/entry.ts', import.meta.url))

    const { outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      platform: 'browser',
      write: false,
    })

    const text = outputFiles[0]?.text ?? ''
    expect(text).not.to.match(/\b(process|Buffer|require)\b/)
    expect(gzipSync(text, { level: 9 }).length).to.be.within(1000, MAX_BYTES)
  })
})
