import { readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import type { Command } from 'commander'
import { createProgram } from '../../src/cli/program.ts'

const ROOT = new URL('../../', import.meta.url)
const read = (file: string) => readFileSync(new URL(file, ROOT), 'utf8')
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(new URL('docs/', ROOT))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
]

/** The commands of a page's blocks of shell: one line each, without comments and variables before them. */
const shell = (file: string): readonly string[] =>
  [...read(file).matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block = '']) =>
    block
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
      .map((line) => line.replace(/\s+#.*$/, '').replace(/^(?:\w+=(?:"[^"]*"|\S*)\s+)+/, '')),
  )

const words = (line: string) =>
  (line.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll(/["']/g, ''))

/** What the command line finds wrong in a command, without running it. */
function fault(line: string): string | undefined {
  let rest = words(line.replace(/\s*(?:[|<>&;]|2>).*$/, ''))
  let command: Command = createProgram()
  for (;;) {
    const verb = command.commands.find((it) => it.name() === rest[0])
    if (verb === undefined) break
    command = verb
    rest = rest.slice(1)
  }
  if (command.parent === null) return rest[0]?.startsWith('-') ? undefined : `no command ${rest[0]}`
  const { operands, unknown } = command.parseOptions(rest)
  const known = command.registeredArguments
  if (unknown.length > 0) return `unknown: ${unknown.join(' ')}`
  if (operands.length > known.length && known.at(-1)?.variadic !== true)
    return `too many: ${operands.join(' ')}`
  return operands.length < known.filter((it) => it.required).length ? 'an argument is missing' : undefined
}

describe('the commands of the documentation', () => {
  it('are commands, options and arguments that the command line takes', () => {
    const commands = PAGES.flatMap((page) =>
      shell(page)
        .map((line) => line.match(/^(?:npx |node dist\/cli\/main\.js )?starcite (.*)$/)?.[1])
        .filter((line) => line !== undefined)
        .map((line) => ({ page, line, fault: fault(line) })),
    )

    expect(commands.length).to.be.greaterThan(20)
    expect(commands.filter((it) => it.fault !== undefined)).to.deep.equal([])
  })

  it('run scripts that package.json has', () => {
    const scripts = Object.keys(JSON.parse(read('package.json')).scripts)
    const unknown = PAGES.flatMap((page) =>
      [...read(page).matchAll(/npm run ([\w:]+)/g)]
        .map((script) => script[1] as string)
        .filter((script) => !scripts.includes(script))
        .map((script) => `${page}: ${script}`),
    )

    expect(unknown).to.deep.equal([])
  })
})
