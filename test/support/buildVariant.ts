import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { BUNDLES, programOf } from './programs.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** A copy of the program that differs from this one in one file of sql/ and in the number of the whole: another build. */
export class BuildVariant {
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async make(number: number, file: string, edit: (text: string) => string): Promise<BuildVariant> {
    const directory = await mkdtemp(path.join(tmpdir(), 'starcite-build-'))
    for (const name of ['src', 'sql', 'migrations', 'package.json', 'tsconfig.json'])
      await cp(path.join(ROOT, name), path.join(directory, name), { recursive: true })
    await symlink(path.join(ROOT, 'node_modules'), path.join(directory, 'node_modules'))
    const at = path.join(directory, 'sql', file)
    const text = await readFile(at, 'utf8')
    const edited = edit(text)
    if (edited === text) throw new Error(`the edit changes nothing in ${file}`)
    await writeFile(at, edited)
    await writeFile(
      path.join(directory, 'sql/installation.json'),
      JSON.stringify({ number, digest: `of build ${number}` }),
    )
    await copyBundles(directory)
    return new BuildVariant(directory)
  }

  /** The words after `node` that run it: the sources, or the bundle with the URLs of its sources replaced. */
  get program(): readonly string[] {
    return programOf('src/main.ts', this.#directory)
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** The bundles that `npm test` has made, as if they had been made from the sources in this directory. */
async function copyBundles(directory: string): Promise<void> {
  if (BUNDLES === undefined) return
  const [from, to] = [pathToFileURL(ROOT).href, `${pathToFileURL(directory).href}/`]
  for (const name of await readdir(BUNDLES, { recursive: true })) {
    if (!name.endsWith('.js')) continue
    const text = await readFile(path.join(BUNDLES, name), 'utf8')
    const copy = path.join(directory, 'bundles', name)
    await mkdir(path.dirname(copy), { recursive: true })
    await writeFile(copy, text.replaceAll(from, to))
  }
}
