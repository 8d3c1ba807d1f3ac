import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, rm } from 'node:fs/promises'
import path from 'node:path'
import { unprivilegedAccount } from '../../src/db/embedded/account.ts'

const BLOCK = Buffer.alloc(64 * 1024)

/** A file system of a few megabytes, which can be filled up. */
export class SmallDisk {
  readonly dir: string

  private constructor(dir: string) {
    this.dir = dir
  }

  /** Undefined where we may not mount one: not as root, or in a container without the right. */
  static async mount(dir: string, megabytes: number): Promise<SmallDisk | undefined> {
    if (process.getuid?.() !== 0 || process.platform !== 'linux') return undefined
    await mkdir(dir)
    if (!(await run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir))) return undefined
    return new SmallDisk(dir)
  }

  /** A directory on it that the server may use. */
  async directory(name: string): Promise<string> {
    const dir = path.join(this.dir, name)
    await mkdir(dir, { mode: 0o700 })
    await this.own(dir)
    return dir
  }

  /** Gives a directory, and all in it, to whom the server runs as. */
  async own(dir: string): Promise<void> {
    const { uid, gid } = await unprivilegedAccount()
    await run('chown', '-R', `${uid}:${gid}`, dir)
  }

  /** Takes all the room that is left. */
  async fill(): Promise<void> {
    const file = await open(this.#ballast, 'a')
    try {
      for (;;) await file.write(BLOCK)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      await file.close()
    }
  }

  async makeRoom(): Promise<void> {
    await rm(this.#ballast)
  }

  async unmount(): Promise<void> {
    await run('umount', this.dir)
  }

  get #ballast(): string {
    return path.join(this.dir, 'ballast')
  }
}

async function run(command: string, ...words: string[]): Promise<boolean> {
  const [code] = await once(spawn(command, words, { stdio: 'ignore' }), 'exit')
  return code === 0
}
