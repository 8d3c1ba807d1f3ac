import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { EXIT, MEANINGS } from '../../src/cli/exit.ts'
import { createProgram } from '../../src/cli/program.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8')
const isThere = (file: string) => existsSync(path.join(ROOT, file))
const markdown = (directory: string) =>
  readdirSync(path.join(ROOT, directory))
    .filter((file) => file.endsWith('.md'))
    .map((file) => path.posix.join(directory, file))

const PAGES = [...markdown('.'), ...markdown('docs'), ...markdown('docs/decisions')]
/** The text without blocks of code. */
const prose = (file: string) => read(file).replaceAll(/^```.*?^```/gms, '')

/** The anchors of a page, as GitHub makes them of its headings, and those that it names itself. */
function anchorsOf(file: string): Set<string> {
  const text = prose(file)
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map((heading) =>
    (heading[1] as string)
      .toLowerCase()
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  )
  return new Set([
    ...headings,
    ...[...text.matchAll(/<a id="([^"]+)">/g)].map((anchor) => anchor[1] as string),
  ])
}

/** The log lines that a page quotes: `…` soon after the word "log" or "logs" in its sentence. */
const quotedLogLines = (file: string) =>
  [...prose(file).matchAll(/\blog(?:s|ged)?\b(?: line| warns| of a node)?[^`.|;]{0,40}`([^`\n]+)`/g)]
    .map((quote) => quote[1] as string)
    .filter((line) => /^[a-zA-Z]['\w]*:?( [-'\w]+:?)+$/.test(line))

const sources = (directory: string): string =>
  readdirSync(path.join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => read(path.join(directory, file)))
    .join('\n')

describe('the documentation', () => {
  it('quotes log lines that the program writes', () => {
    const quoted = [...PAGES, 'deploy/prometheus/alerts.yml'].flatMap(quotedLogLines)
    const source = sources('src').replaceAll("\\'", "'")
    expect(quoted.length).to.be.greaterThan(10)
    expect(quoted.filter((line) => !source.includes(line))).to.deep.equal([])
  })

  it('links to files and headings that exist', () => {
    const broken = PAGES.flatMap((page) =>
      [...prose(page).matchAll(/\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)/g)]
        .filter(([, to, anchor]) => {
          const target = to ? path.posix.join(path.posix.dirname(page), to) : page
          return !isThere(target) || (anchor !== undefined && !anchorsOf(target).has(anchor))
        })
        .map(([link]) => `${page}: ${link}`),
    )

    expect(broken).to.deep.equal([])
  })

  it('lists every page of docs/ in docs/README.md, and every decision in docs/decisions/README.md', () => {
    for (const directory of ['docs', 'docs/decisions']) {
      const index = read(`${directory}/README.md`)
      const pages = markdown(directory).map((file) => path.posix.basename(file))

      expect(pages.filter((page) => page !== 'README.md' && !index.includes(`(${page})`))).to.deep.equal([])
    }
  })

  it('has a row in docs/cli.md for each verb of the command line, and none for another', () => {
    const rows = [...read('docs/cli.md').matchAll(/^\| (`[a-z].*?) \| /gm)].map((row) => row[1] as string)
    const shown = rows.flatMap((row) => [...row.matchAll(/`([a-z-]+)/g)].map((verb) => verb[1]))

    expect([...new Set(shown)]).to.have.members(createProgram().commands.map((verb) => verb.name()))
  })

  it('has every exit code in docs/cli.md with its meaning in --help, and in docs/operations.md for a node', () => {
    const rowsOf = (file: string) =>
      [...read(file).matchAll(/^\| (\d+) \| ([^|]+?) \|/gm)].map(([, code, meaning]) => [
        Number(code),
        meaning,
      ])
    const expected = Object.entries(EXIT).map(([name, code]) => [code, MEANINGS[name as keyof typeof EXIT]])

    expect(rowsOf('docs/cli.md')).to.deep.equal(expected)
    expect(rowsOf('docs/operations.md').map(([code]) => code)).to.deep.equal(expected.map(([code]) => code))
  })

  it('names files in CONTRIBUTING.md that exist, and scripts that package.json has', () => {
    const text = read('CONTRIBUTING.md')
    const named = [...text.matchAll(/`((?:src|test|sql|migrations|docs|deploy)\/[\w./-]*)`/g)].map(
      (file) => file[1] as string,
    )
    const scripts = [...text.matchAll(/npm run ([\w:]+)/g)].map((script) => script[1] as string)

    expect(named).not.to.be.empty
    expect(named.filter((file) => !isThere(file))).to.deep.equal([])
    expect(JSON.parse(read('package.json')).scripts).to.include.keys(scripts)
  })
})
