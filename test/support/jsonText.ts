/** Where members and elements are in JSON text that is valid, apart from the scanner that the service has. */
const QUOTE = 34
const BACKSLASH = 92
const COMMA = 44
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93

/** The index after the string that opens at `at`. */
function afterString(text: string, at: number): number {
  let end = at + 1
  for (;;) {
    const code = text.charCodeAt(end)
    if (code === QUOTE) return end + 1
    end += code === BACKSLASH ? 2 : 1
  }
}

const isSpace = (code: number) => code === 32 || code === 10 || code === 13 || code === 9

function skipSpace(text: string, at: number): number {
  let end = at
  while (isSpace(text.charCodeAt(end))) end += 1
  return end
}

/** The index after the value that starts at `at`. */
function afterValue(text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === QUOTE) return afterString(text, at)
  let depth = 0
  let end = at
  for (;;) {
    const code = text.charCodeAt(end)
    if (code === QUOTE) {
      end = afterString(text, end)
      continue
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (depth === 0) return end
      depth -= 1
      if (depth === 0) return end + 1
    } else if (depth === 0 && (code === COMMA || isSpace(code) || Number.isNaN(code))) return end
    end += 1
  }
}

/** The members of an object, name to text of the value. `text` must be a valid JSON object; of a repeated name the last counts, as in JSON.parse. */
export function memberTexts(text: string): Map<string, string> {
  const members = new Map<string, string>()
  let at = skipSpace(text, skipSpace(text, 0) + 1)
  while (text.charCodeAt(at) === QUOTE) {
    const nameEnd = afterString(text, at)
    const rawName = text.slice(at + 1, nameEnd - 1)
    const name = rawName.includes('\\') ? (JSON.parse(`"${rawName}"`) as string) : rawName
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1)
    const end = afterValue(text, start)
    members.set(name, text.slice(start, end))
    at = skipSpace(text, end)
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1)
  }
  return members
}

/** The texts of an array's elements. `text` must be a valid JSON array. */
export function elementTexts(text: string): string[] {
  const elements: string[] = []
  let at = skipSpace(text, skipSpace(text, 0) + 1)
  while (text.charCodeAt(at) !== CLOSE_BRACKET) {
    const end = afterValue(text, at)
    elements.push(text.slice(at, end))
    at = skipSpace(text, end)
    if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1)
  }
  return elements
}
