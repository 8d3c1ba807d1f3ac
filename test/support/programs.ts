import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TSX = path.join(ROOT, 'node_modules/tsx/dist/loader.mjs')

/**
 * The words after `node` that run a program of src/ or test/support/: the bundle that `npm test` has made, which starts several
 * times faster, or the source, which needs no preparation.
 */
export function programOf(source: string): readonly string[] {
  const built = process.env.STARCITE_TEST_PROGRAMS
  return built
    ? ['--enable-source-maps', path.join(built, source.replace(/\.ts$/, '.js'))]
    : ['--import', TSX, path.join(ROOT, source)]
}
