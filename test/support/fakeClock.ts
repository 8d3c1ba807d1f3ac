import { existsSync, readdirSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { CHILD_ENV } from '../../src/db/embedded/binaries.ts'
import type { EmbeddedPostgres } from '../../src/db/embedded/server.ts'
import { EmbeddedPostgresLab } from './embeddedPostgres.ts'

const DIRECTORIES = ['/usr/lib', '/usr/lib64', '/usr/local/lib']

/** libfaketime (Debian's package faketime); undefined where it is not installed. */
export function fakeTimeLibrary(): string | undefined {
  for (const directory of DIRECTORIES)
    for (const name of ['', ...(existsSync(directory) ? readdirSync(directory) : [])]) {
      const file = `${directory}/${name}/faketime/libfaketime.so.1`
      if (existsSync(file)) return file
    }
  return undefined
}

/** A server whose clock can be set, while it runs, and no other clock with it. */
export class FakeClockPostgres {
  readonly server: EmbeddedPostgres
  readonly #place: EmbeddedPostgresLab
  readonly #file: string

  private constructor(place: EmbeddedPostgresLab, file: string, server: EmbeddedPostgres) {
    this.#place = place
    this.#file = file
    this.server = server
  }

  static async start(library: string): Promise<FakeClockPostgres> {
    const place = await EmbeddedPostgresLab.open()
    const file = place.path('clock')
    await writeFile(file, '+0')
    const fake = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    Object.assign(CHILD_ENV, fake)
    try {
      return new FakeClockPostgres(place, file, await place.start())
    } finally {
      for (const name of Object.keys(fake)) delete CHILD_ENV[name]
    }
  }

  /** By how much its clock differs from the real one, as libfaketime writes it: `+1200d`, `-3d`, `+0`. */
  async set(offset: string): Promise<void> {
    await writeFile(`${this.#file}.new`, offset)
    await rename(`${this.#file}.new`, this.#file)
  }

  end(): Promise<void> {
    return this.#place.end()
  }
}
