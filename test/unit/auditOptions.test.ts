import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect } from 'chai'
import { CSV } from '../../src/audit/export/csv.ts'
import { wireTime } from '../../src/audit/read/time.ts'
import { exitCodeOf } from '../../src/cli/exit.ts'
import { createProgram } from '../../src/cli/program.ts'
import { makeScratch } from '../support/scratch.ts'

describe('the options of starcite audit', () => {
  let folder: string
  let file: string

  before(async () => {
    folder = await makeScratch('options')
    file = path.join(folder, 'mine.txt')
    await writeFile(file, 'not ours\n')
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** Why a command is refused before anything is connected to. */
  const refusal = (...args: string[]) =>
    createProgram()
      .parseAsync(['audit', ...args], { from: 'user' })
      .then(
        () => expect.fail(`nothing is refused of ${args}`),
        (error: Error) => {
          expect(exitCodeOf(error), error.stack ?? '').to.equal(2)
          return error.message
        },
      )

  it('say what is wrong with them, and what would be right', async () => {
    expect(await refusal('verify', '--heads', file)).to.include('line 1 must be {"tenant_id"')
    expect(await refusal('verify', 'x', '--all')).to.include('exclude each other')
    expect(await refusal('verify', '--from', folder, '--tenant', 'a', '--all')).to.include(
      'exclude each other',
    )
    expect(await refusal('export', '--tenant', 'a', '--all')).to.include('exclude each other')
    expect(await refusal('export', '--from', 'yesterday')).to.include(
      '--from must be a time such as 2026-11-24',
    )
    expect(await refusal('export', '--from', '2026-11-02', '--to', '2026-11-01')).to.include(
      'must be before --to',
    )
    expect(await refusal('export', '--resume')).to.include('--resume needs --output')
    expect(await refusal('export', '--output', file)).to.include('exists already: add --resume')
    expect(await refusal('export', '--output', file, '--resume')).to.include('is not an export in NDJSON')
    expect(await refusal('export', '--output', file, '--resume', '--format', 'csv')).to.include(
      'is not an export in CSV',
    )
    const csv = path.join(folder, 'mine.csv')
    await writeFile(csv, `${CSV.head}acme,ses_1,,not ours\r\n`)
    expect(await refusal('export', '--output', csv, '--resume', '--format', 'csv')).to.include(
      'the last record of the file is not one of an export in CSV',
    )
    expect(await refusal('load')).to.include('choose events: set --session')
    expect(await refusal('load', '--session', 'x', '--for', 'ever')).to.include(
      'such as 30m, 8h or 7d of at most 365d',
    )
    expect(await refusal('unload', '--session', 'x', '--all')).to.include('exclude each other')
    expect(await refusal('check-proof', path.join(folder, 'none'), '--public-key', file)).to.include(
      'mine.txt',
    )
    expect(await readFile(file, 'utf8')).to.equal('not ours\n')
  })

  it('are refused when hashes that were kept contradict each other', async () => {
    const heads = path.join(folder, 'heads.ndjson')
    const line = (hash: string) => `{"tenant_id":"a","session_id":"s","seq":7,"hash":"${hash.repeat(64)}"}`
    await writeFile(heads, [line('a'), line('A'), line('b')].join('\n'))

    expect(await refusal('verify', '--heads', heads)).to.include('line 3 has a different hash of event 7')
  })

  it('leave no file behind that was begun in vain', async () => {
    const before = await readdir(folder)
    const [fresh, key] = ['fresh.csv', 'key.pem'].map((name) => path.join(folder, name)) as [string, string]

    const { DATABASE_URL } = process.env
    process.env.DATABASE_URL = 'no URL'
    try {
      await refusal('export', '--output', fresh, '--format', 'csv')
      await refusal('export', '--output', fresh, '--resume')
    } finally {
      if (DATABASE_URL === undefined) delete process.env.DATABASE_URL
      else process.env.DATABASE_URL = DATABASE_URL
    }
    expect(await refusal('keygen', '--output', key, '--public', file)).to.include('mine.txt exists already')

    expect(await readdir(folder)).to.deep.equal(before)
  })

  it('do not cut a file that an export is not to go on with', async () => {
    const other = path.join(folder, 'other.ndjson')
    const text = '{"seq":1,"session_id":"ses_1","tenant_id":"acme"}\n{"seq":2,"sess'
    await writeFile(other, text)

    expect(await refusal('export', '--output', other, '--resume', '--tenant', 'b')).to.include('leave out')
    expect(await readFile(other, 'utf8')).to.equal(text)
  })

  it('take times as people write them', () => {
    expect(wireTime('2026-11-24')).to.equal('2026-11-24T00:00:00.000000Z')
    expect(wireTime('2026-11-24T08:30')).to.equal('2026-11-24T08:30:00.000000Z')
    expect(wireTime('2026-11-24 08:30:01.25+02:00')).to.equal('2026-11-24T06:30:01.250000Z')
    expect(wireTime('2026-11-24T08:30:01.123456Z')).to.equal('2026-11-24T08:30:01.123456Z')
    for (const wrong of [
      '',
      'now',
      '2026-13-01',
      '2026-02-30',
      '2026-11-24T25:00',
      '24.11.2026',
      '2026-11-24T08:30:01.1234567Z',
    ])
      expect(wireTime(wrong), wrong).to.equal(undefined)
  })
})
