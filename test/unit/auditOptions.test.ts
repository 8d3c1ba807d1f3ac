import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'chai'
import { wireTime } from '../../src/audit/read/time.ts'
import { exitCodeOf } from '../../src/cli/exit.ts'
import { createProgram } from '../../src/cli/program.ts'

describe('the options of starcite audit', () => {
  let folder: string
  let file: string

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'starcite-options-'))
    file = path.join(folder, 'mine.txt')
    await writeFile(file, 'not ours\n')
  })
  after(() => rm(folder, { recursive: true, force: true }))

  /** Why a command is refused before anything is connected to. */
  const refusal = (...args: string[]) =>
    createProgram(() => {})
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
    expect(await refusal('export', '--tenant', 'a', '--all')).to.include('exclude each other')
    expect(await refusal('export', '--from', 'yesterday')).to.include(
      '--from must be a time such as 2026-11-24',
    )
    expect(await refusal('export', '--from', '2026-11-02', '--to', '2026-11-01')).to.include(
      'must be before --to',
    )
    expect(await refusal('export', '--resume')).to.include('--resume needs --output')
    expect(await refusal('export', '--output', file)).to.include('is there already: --resume')
    expect(await refusal('export', '--output', file, '--resume')).to.include('none of an export in NDJSON')
    expect(await refusal('export', '--output', file, '--resume', '--format', 'csv')).to.include(
      'none of an export in CSV',
    )
    expect(await refusal('load')).to.include('say which events: --session')
    expect(await refusal('load', '--session', 'x', '--for', 'ever')).to.include('such as 12h or 7d')
    expect(await refusal('unload', '--session', 'x', '--all')).to.include('exclude each other')
    expect(await readFile(file, 'utf8')).to.equal('not ours\n')
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
      '2026-11-24T25:00',
      '24.11.2026',
      '2026-11-24T08:30:01.1234567Z',
    ])
      expect(wireTime(wrong), wrong).to.equal(undefined)
  })
})
