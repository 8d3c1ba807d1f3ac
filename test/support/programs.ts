import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TSX = path.join(ROOT, 'node_modules/tsx/dist/loader.mjs')
/** Where `npm test` has put the bundles of programs, at the paths of their sources. */
export const BUNDLES = process.env.STARCITE_TEST_PROGRAMS

/**
 * The words after `node` that run a program of src/ or test/support/: its bundle, which starts several times faster, or its source,
 * which needs no preparation. With `directory`, the program of the copy that is there.
 */
export function programOf(source: string, directory?: string): readonly string[] {
  if (BUNDLES === undefined) return ['--import', TSX, path.join(directory ?? ROOT, source)]
  const bundles = directory === undefined ? BUNDLES : path.join(directory, 'bundles')
  return ['--enable-source-maps', path.join(bundles, source.replace(/\.ts$/, '.js'))]
}
