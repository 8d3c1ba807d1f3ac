import { readdir, readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { SQL_OBJECTS } from '../../src/db/functions.ts'
import { nextStamp, readStamp, sqlFile } from '../../src/db/installation.ts'

const MIGRATIONS = new URL('../../migrations/', import.meta.url)
const SOURCES = new URL('../../sql/', import.meta.url)

const read = async (directory: URL) => {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (name) => ({ name, text: await readFile(new URL(name, directory), 'utf8') })),
  )
}
const qualified = (name: string) => (name.includes('.') ? name : `starcite.${name}`)
/** Without comments, strings and what stands between $$. */
const statementsOf = (text: string) =>
  text
    .replaceAll(/\$\$.*?\$\$/gs, '')
    .replaceAll(/--.*/g, '')
    .replaceAll(/'(?:[^']|'')*'/g, `''`)

describe('the SQL sources', () => {
  it('install every file of sql/, and only those', async () => {
    const files = (await readdir(SOURCES, { recursive: true })).filter((name) => name.endsWith('.sql')).sort()

    expect(files).to.deep.equal(SQL_OBJECTS.map((name) => `${name.replace('.', '/')}.sql`).sort())
  })

  it('have the number that was given to this content (npm run sql:stamp gives the next one)', async () => {
    const stamp = await readStamp()

    expect(await nextStamp(stamp)).to.deep.equal(stamp)
  })

  it('define in each file of sql/ what it is named after, overloads included, under a header', async () => {
    for (const name of SQL_OBJECTS) {
      const text = await readFile(sqlFile(name), 'utf8')
      const created = [
        ...statementsOf(text).matchAll(/\bcreate\b(?: or replace)? (?:function|aggregate|view) (\S+?)[\s(]/g),
      ]
      expect([...new Set(created.map((match) => match[1]))], name).to.deep.equal([qualified(name)])
      const others = statementsOf(text)
        .split(';')
        .map((statement) => statement.trim())
        .filter((statement) => statement !== '' && !/^(create|comment on) /.test(statement))
      expect(others, name).to.deep.equal([])
      expect(text, name).to.match(/^-- \w.*\n(--.*\n)*create or replace /)
    }
  })

  it('have no string in the body of a function whose backslashes depend on standard_conforming_strings', async () => {
    for (const name of SQL_OBJECTS) {
      const text = (await readFile(sqlFile(name), 'utf8')).replaceAll(/--.*/g, '')
      for (const [, body = ''] of text.matchAll(/\$\$(.*?)\$\$/gs)) {
        const strings = body.replaceAll(/\$(\w+)\$.*?\$\1\$/gs, '').matchAll(/(?<!E)'(?:[^']|'')*'/g)
        expect(
          [...strings].filter(([text]) => text.includes('\\')).map(([text]) => text),
          name,
        ).to.deep.equal([])
      }
    }
  })

  it('install after what they call', async () => {
    for (const [place, name] of SQL_OBJECTS.entries()) {
      const text = await readFile(sqlFile(name), 'utf8')
      const called = SQL_OBJECTS.filter((object) =>
        text.replaceAll(/--.*/g, '').includes(`${qualified(object)}(`),
      )
      for (const object of called)
        expect(SQL_OBJECTS.indexOf(object), `${name} calls ${object}`).to.be.at.most(place)
    }
  })

  it('say of each migration whether it breaks running nodes, and never what hides all above it', async () => {
    const migrations = await read(MIGRATIONS)
    expect(
      new Set(migrations.map((migration) => migration.name.slice(0, 4))).size,
      'no number twice',
    ).to.equal(migrations.length)
    for (const { name, text } of migrations) {
      expect(name).to.match(/^\d{4}_[a-z0-9_]+\.sql$/)
      expect(text, name).to.match(/^-- breaking: (yes|no)\. \S/)
      expect(text, name).not.to.match(/-- *(up|down) migration/i)
    }
  })
})
