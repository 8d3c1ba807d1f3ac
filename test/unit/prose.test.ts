import { expect } from 'chai'
import { findingsIn } from '../prose/rules.ts'
import { textsOf } from '../prose/texts.ts'

const found = (path: string, source: string) =>
  textsOf(path, source)
    .flatMap((text) => findingsIn(text, 12))
    .map(({ line, message }) => `${line} ${message}`)

describe('the linter of prose', () => {
  it('finds a banned phrase at its line, also when the phrase runs over the end of a line', () => {
    expect(found('a.md', 'One line.\nThe reader is\ntold of it.')).to.deep.equal([
      '2 "is told": write who notifies, reports or receives',
    ])
  })

  it('finds a sentence of too many words, and counts a piece of code as one word', () => {
    expect(
      found('a.md', 'One two three four five six seven eight nine ten eleven twelve thirteen.'),
    ).to.have.length(1)
    expect(
      found('a.md', 'One two `three four five six seven eight` nine ten eleven twelve thirteen.'),
    ).to.deep.equal([])
  })

  it('finds a word that is written twice, and a sentence that begins with What unless it asks', () => {
    expect(found('a.md', 'It reads the the log.')).to.deep.equal(['1 "the" is written twice'])
    expect(found('a.md', 'What is there is sent.')).to.have.length(1)
    expect(found('a.md', 'What is sent?')).to.deep.equal([])
  })

  it('reads headings and cells of tables for words alone, and no code', () => {
    expect(
      found('a.md', '# What it does\n\n| what | whoever |\n\n```\nwhoever\n```\n`nobody`\n'),
    ).to.have.length(1)
  })

  it('reads comments and strings of TypeScript, and comments of SQL', () => {
    const typescript = "/**\n * Nobody reads it.\n */\nconst whoever = 'for whoever asks' // made anew\n"
    expect(found('a.ts', typescript).map((finding) => finding.slice(0, 3))).to.have.members([
      '2 "',
      '4 "',
      '4 "',
    ])
    expect(found('a.sql', 'select 1; -- nobody\n-- Whoever\nselect nobody;')).to.have.length(2)
  })
})
