import type { Text } from './rules.ts'

/** The running text of a file; code, quotes of code and tables of values are no prose. */
export function textsOf(path: string, source: string): readonly Text[] {
  if (path.endsWith('.md')) return markdown(source)
  if (path.endsWith('.sql')) return comments(source, '--')
  if (path.endsWith('.ts')) return [...comments(source, '//'), ...strings(source)]
  return comments(source, '#')
}

/** Marks inside a line that are names of code, or addresses: one word each, so that lengths stay true. */
const plain = (line: string): string =>
  line
    .replace(/`[^`]*`/g, 'CODE')
    .replace(/\]\([^)]*\)/g, ']')
    .replace(/<?https?:\/\/\S+/g, 'ADDRESS')

class Blocks {
  readonly texts: Text[] = []
  #lines: string[] = []
  #from = 0

  add(number: number, line: string): void {
    if (this.#lines.length === 0) this.#from = number
    this.#lines.push(line)
  }

  alone(number: number, text: string): void {
    this.end()
    this.texts.push({ line: number, text: plain(text), isSentences: false })
  }

  end(): void {
    // Code may run over the end of a line, so it is replaced in the whole block; its line ends are kept for the numbers.
    const text = this.#lines.join('\n').replace(/`[^`]*`/g, (code) => `CODE${code.replace(/[^\n]/g, '')}`)
    if (this.#lines.length > 0) this.texts.push({ line: this.#from, text: plain(text), isSentences: true })
    this.#lines = []
  }
}

function markdown(source: string): readonly Text[] {
  const blocks = new Blocks()
  let isCode = false
  for (const [index, line] of source.split('\n').entries()) {
    const number = index + 1
    if (/^\s*(?:```|~~~)/.test(line)) {
      isCode = !isCode
      blocks.end()
    } else if (isCode || /^\s*$/.test(line)) blocks.end()
    else if (/^\s*#/.test(line)) blocks.alone(number, line)
    else if (/^\s*\|/.test(line)) for (const cell of line.split('|')) blocks.alone(number, cell)
    else {
      if (/^\s*(?:[-*+]|\d+\.)\s/.test(line)) blocks.end()
      blocks.add(number, line.replace(/^\s*(?:[-*+]|\d+\.)\s+/, ''))
    }
  }
  blocks.end()
  return blocks.texts
}

function comments(source: string, mark: '//' | '--' | '#'): readonly Text[] {
  const blocks = new Blocks()
  let isBlock = false
  for (const [index, line] of source.split('\n').entries()) {
    const number = index + 1
    const opened = !isBlock && /^\s*\/\*/.test(line)
    const whole = line.trimStart().startsWith(mark) ? line.trimStart().slice(mark.length) : undefined
    if (opened || isBlock) {
      if (opened) blocks.end()
      isBlock = !line.includes('*/')
      const text = line.replace(/^\s*\/?\*+\/?/, '').replace(/\*\/\s*$/, '')
      if (/^\s*$/.test(text)) blocks.end()
      else blocks.add(number, text)
      if (!isBlock) blocks.end()
    } else if (whole !== undefined && !/^\s*(?:biome-ignore|@ts-|$)/.test(whole)) blocks.add(number, whole)
    else {
      blocks.end()
      const trailing = mark === '#' ? undefined : line.match(new RegExp(`\\s${mark} (.*)$`))?.[1]
      if (trailing !== undefined) blocks.alone(number, trailing)
    }
  }
  blocks.end()
  // Comments may be lists and fragments: like titles, they are read for words alone.
  return blocks.texts.map((text) => ({ ...text, isSentences: false }))
}

/** Strings of three words and more: titles of tests, messages, help. What is SQL is written in lower case and has no full stop. */
function strings(source: string): readonly Text[] {
  const found: Text[] = []
  for (const [index, line] of source.split('\n').entries()) {
    if (/^\s*(?:\/\/|\/?\*)/.test(line)) continue
    for (const [, quote, text = ''] of line.matchAll(/(['"`])((?:\\.|(?!\1).)*)\1/g))
      if (text.trim().split(/\s+/).length >= 3)
        found.push({
          line: index + 1,
          text: quote === '`' ? text.replace(/\$\{[^}]*\}/g, 'VALUE') : text,
          isSentences: false,
        })
  }
  return found
}
