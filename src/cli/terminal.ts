import { styleText } from 'node:util'

export const out = (text: string) => process.stdout.write(text)
export const err = (text: string) => process.stderr.write(text)

type Style = Parameters<typeof styleText>[0]
/** Whether a stream gets colours: NO_COLOR (https://no-color.org) and FORCE_COLOR decide before the stream does. */
function hasColours(stream: NodeJS.WriteStream): boolean {
  if (process.env.NO_COLOR) return false
  if (process.env.FORCE_COLOR) return process.env.FORCE_COLOR !== '0'
  return stream.isTTY === true
}

export function painter(stream: NodeJS.WriteStream): (style: Style, text: string) => string {
  const paints = hasColours(stream)
  return (style, text) => (paints ? styleText(style, text) : text)
}

const ACTOR_STYLES: readonly Style[] = ['cyan', 'green', 'yellow', 'magenta', 'blue', 'red']

/** The colour of an actor, the same in every run. */
export function styleOf(actor: string): Style {
  let hash = 0
  for (const char of actor) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0
  return ACTOR_STYLES[hash % ACTOR_STYLES.length] as Style
}

/** Shows control characters as escapes, so that stored text cannot steer the terminal. */
export function escapeControlCharacters(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to find
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (char) =>
    char === '\n' ? '\\n' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Prints rows in columns as wide as their widest cell, two spaces apart. The first row is the heading; null prints as nothing. */
export function printTable(rows: readonly (readonly (string | null)[])[]): void {
  const cells = rows.map((row) => row.map((cell) => escapeControlCharacters(cell ?? '')))
  const widths = cells[0]?.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0))) ?? []
  const paint = painter(process.stdout)
  for (const [n, row] of cells.entries()) {
    const line = row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
    out(`${n === 0 ? paint('bold', line) : line}\n`)
  }
}

export function printJsonLines(values: readonly unknown[]): void {
  for (const value of values) out(`${JSON.stringify(value)}\n`)
}

/** `2026-11-24 08:30:00` of a time on the wire. */
export const wholeSeconds = (time: string) => time.slice(0, 19).replace('T', ' ')

/** A line that is overwritten, on a terminal only. */
export function progress(stream: NodeJS.WriteStream): { show(text: string): void; clear(): void } {
  if (!stream.isTTY) return { show: () => {}, clear: () => {} }
  return { show: (text) => void stream.write(`\r${text}\x1b[K`), clear: () => void stream.write('\r\x1b[K') }
}

export const amount = (n: number) => n.toLocaleString('en')
