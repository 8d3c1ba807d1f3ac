import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** A copy of the program that differs from this one in one file of sql/ and in the number of the whole: another build. */
export class BuildVariant {
  readonly #directory: string

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async make(number: number, file: string, edit: (text: string) => string): Promise<BuildVariant> {
    const directory = await mkdtemp(path.join(tmpdir(), 'starcite-build-'))
    for (const it of ['src', 'sql', 'migrations', 'package.json', 'tsconfig.json'])
      await cp(path.join(ROOT, it), path.join(directory, it), { recursive: true })
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
    return new BuildVariant(directory)
  }

  /** The words after `node` that run it. */
  get program(): readonly string[] {
    return ['--import', 'tsx', path.join(this.#directory, 'src/main.ts')]
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true })
  }
}
