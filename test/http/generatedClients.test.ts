import { execFile } from 'node:child_process'
import { copyFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { build } from 'esbuild'
import { unique } from '../support/answers.ts'
import { makeScratch } from '../support/scratch.ts'
import { useDatabase, useNode } from '../support/useNode.ts'

const GENERATORS = fileURLToPath(new URL('../generators/', import.meta.url))
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const bin = (root: string, name: string) => path.join(root, 'node_modules/.bin', name)

const COMPILER_OPTIONS = {
  ...{ target: 'es2022', module: 'nodenext', lib: ['es2023', 'dom', 'dom.iterable'], types: [] },
  ...{ strict: true, noUncheckedIndexedAccess: true, skipLibCheck: true },
  ...{ noEmit: true, allowImportingTsExtensions: true },
}

describe('clients that are generated from /openapi.json', () => {
  const database = useDatabase()
  const node = useNode(database)
  let directory: string

  before(async () => {
    directory = await makeScratch('generated')
    const modules = createRequire(`${GENERATORS}package.json`).resolve('openapi-fetch/package.json')
    const orval = {
      input: `${node.url}/openapi.json`,
      output: { target: './client.ts', client: 'fetch', baseUrl: node.url, urlEncodeParameters: true },
    }
    await Promise.all([
      symlink(path.resolve(modules, '../..'), path.join(directory, 'node_modules')),
      writeFile(path.join(directory, 'package.json'), '{"type":"module"}'),
      writeFile(path.join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER_OPTIONS })),
      writeFile(
        path.join(directory, 'orval.config.mjs'),
        `export default ${JSON.stringify({ starcite: orval })}`,
      ),
      ...['withOpenApiFetch.ts', 'withOrval.ts'].map((name) =>
        copyFile(path.join(GENERATORS, name), path.join(directory, name)),
      ),
    ])
    await Promise.all([
      run(bin(GENERATORS, 'openapi-typescript'), `${node.url}/openapi.json`, '-o', 'schema.ts'),
      run(bin(GENERATORS, 'orval'), '--config', 'orval.config.mjs', '--fail-on-warnings'),
    ])
  })
  after(async () => {
    if (directory) await rm(directory, { recursive: true })
  })

  /** What it says; it ends well. */
  async function run(program: string, ...args: string[]): Promise<string> {
    const said = await promisify(execFile)(program, args, { cwd: directory }).catch((error) => {
      throw new Error(`${program} ended with ${error.code}:\n${error.stdout}${error.stderr}`)
    })
    return said.stdout + said.stderr
  }

  it('compile, strictly, with programs that use them', async () => {
    expect(await run(bin(ROOT, 'tsc'), '--project', 'tsconfig.json')).to.equal('')
  })

  for (const [generator, program] of [
    ['openapi-typescript', 'withOpenApiFetch.ts'],
    ['orval', 'withOrval.ts'],
  ] as const)
    it(`create, append, page, redact and tell errors apart: ${generator}`, async () => {
      const outfile = path.join(directory, `${program}.mjs`)
      await build({
        absWorkingDir: directory,
        entryPoints: [program],
        outfile,
        bundle: true,
        packages: 'external',
        format: 'esm',
        platform: 'node',
      })
      const used = await import(pathToFileURL(outfile).href)
      const id = `${unique()}/with slash`

      expect(await used.run(node.url, id)).to.deep.equal({
        ...{ session: id, seqs: [1, 2, 3], head: 3, kind: 'event', texts: ['one', 'redacted', 'three'] },
        ...{ listed: [id], frames: ['id: 3'], wellbeing: 'ok' },
      })
    })
})
