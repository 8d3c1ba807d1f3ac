import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect } from 'chai'
import type { Service } from '../../src/service.ts'
import { buildCommand, Command } from '../support/commandLine.ts'
import { startNode } from '../support/node.ts'
import type { FreshDatabase } from '../support/postgres.ts'
import { connect, migratedDatabase } from '../support/template.ts'
import { until } from '../support/until.ts'

const README = new URL('../../README.md', import.meta.url)
const run = promisify(execFile)

describe('the quick start of the README', function () {
  this.timeout(120_000)
  let database: FreshDatabase
  let node: Service
  const blocks = { sh: [] as string[], json: [] as string[], sql: [] as string[] }

  before(async () => {
    await buildCommand()
    database = await migratedDatabase()
    node = await startNode(database)
    const page = (await readFile(README, 'utf8')).replaceAll('http://localhost:4000', node.url)
    const quickStart = page.slice(page.indexOf('## Quick start'), page.indexOf('## The API at a glance'))
    for (const [, language, text] of quickStart.matchAll(/^```(sh|json|sql)\n(.*?)^```/gms))
      blocks[language as 'sh'].push(text as string)
  })
  after(async () => {
    await node?.stop()
    await database?.drop()
  })

  it('creates a session, appends, tails with the command and with curl, and appends from SQL', async () => {
    const [create = '', append = '', command = '', curl = ''] = blocks.sh
    const shell = async (script: string) => JSON.parse((await run('sh', ['-ec', script])).stdout)

    expect(await shell(create)).to.include({ id: 'ses_demo', title: 'Draft contract', last_seq: 0 })
    expect(await shell(append)).to.deep.equal(JSON.parse(blocks.json[0] as string))

    const tail = new Command(command.trim().split(' ').slice(2), { env: { STARCITE_URL: node.url } })
    const stream = spawn('sh', ['-ec', `exec ${curl}`])
    let streamed = ''
    stream.stdout.on('data', (chunk) => {
      streamed += chunk
    })
    try {
      await tail.says(/1 .*agent:drafter +content +Reviewing clause/)
      await until('the event on the stream', () => streamed.includes('"actor":"agent:drafter"'))

      const db = await connect(database)
      await db.query('set search_path = public')
      await db.query(
        `create table orders (id int primary key, state text); insert into orders values (7, 'open')`,
      )
      await db.query(blocks.sql[0] as string)
      await db.end()

      await tail.says(/2 .*service:billing +order\.paid/)
      await until('the second event on the stream', () => streamed.includes('"actor":"service:billing"'))
    } finally {
      const ended = [once(stream, 'close'), tail.ended]
      stream.kill('SIGKILL')
      tail.child.kill('SIGKILL')
      await Promise.all(ended)
    }
  })
})
