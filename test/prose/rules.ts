/** One stretch of running text: a paragraph, a list item, a doc comment, a test's title or a message. */
export interface Text {
  readonly line: number
  readonly text: string
  /** Headings, cells, titles and messages are not sentences: only words and repetitions are looked for in them. */
  readonly isSentences: boolean
}

export interface Finding {
  readonly line: number
  readonly message: string
}

/** A phrase that readers stumble over, and what to write in its place. */
interface Phrase {
  readonly phrase: RegExp
  readonly write: string
}

const BE = '(?:is|are|was|were|be|been|being)'

const PHRASES: readonly Phrase[] = [
  { phrase: /\bwhoever\b/, write: 'the actor: "the node that …", "a client that …"' },
  {
    phrase: /\b(?:no|some|any|every)body\b/,
    write: 'the actor: "no client", "another transaction", "any operator"',
  },
  { phrase: /\bwhatever\b/, write: '"regardless of …", "any …", or what can happen' },
  {
    phrase: new RegExp(`\\b${BE} (?:not |also |only |then )?(?:told(?! from| apart)|heard)\\b`),
    write: 'who notifies, reports or receives',
  },
  { phrase: /\bhears? (?:of|from|nothing|no)\b/, write: '"receives", "is notified of"' },
  { phrase: /\bgo(?:es)? without saying\b/, write: 'that it is the default, or omitted' },
  { phrase: /\b(?:what|that) stands here\b/, write: 'what it is' },
  { phrase: /\bunnoticed\b/, write: '"transparent", "undetected"' },
  { phrase: /\banew\b/, write: '"again", "a new …"' },
  { phrase: /\bfor good\b/, write: '"permanently"' },
  { phrase: /\bas (?:it takes|for so long)\b/, write: 'the limit' },
  { phrase: /\bsa(?:y|ys|id) so\b/, write: '"reports it", "logs it"' },
  { phrase: /\b(?:believes?|believed)\b/, write: '"trusts", "accepts", "assumes"' },
  { phrase: /\bhasten(?:s|ed)?\b/, write: '"speeds up", "shortens"' },
  { phrase: /\b(?:of course|obviously|needless to say)\b/, write: 'nothing' },
]

/** Words that may stand twice in a row: `code` and `value` are the stand-ins of texts.ts, the others names in SQL and tests. */
const DOUBLED = new Set(['that', 'had', 'code', 'value', 'schema', 'heavy', 'nodevalue'])

const lineOf = (text: Text, index: number): number =>
  text.line + text.text.slice(0, index).split('\n').length - 1

function* phrases(text: Text): Iterable<Finding> {
  for (const { phrase, write } of PHRASES)
    for (const match of text.text.matchAll(new RegExp(phrase.source.replaceAll(' ', '\\s+'), 'gi')))
      yield { line: lineOf(text, match.index), message: `"${match[0].replace(/\s+/g, ' ')}": write ${write}` }
}

function* repetitions(text: Text): Iterable<Finding> {
  for (const match of text.text.matchAll(/(?<![\w-])([a-z]+)\s+\1(?![\w-])/gi))
    if (!DOUBLED.has(match[1]?.toLowerCase() ?? ''))
      yield { line: lineOf(text, match.index), message: `"${match[1]}" is written twice` }
}

function* sentences(text: Text, maxWords: number): Iterable<Finding> {
  let index = 0
  for (const sentence of text.text.split(/(?<=[.!?:][)"*]*\s+)(?=["(*[]*[A-Z0-9])/)) {
    const line = lineOf(text, index + (sentence.length - sentence.trimStart().length))
    index += sentence.length
    const words = sentence
      .trim()
      .split(/\s+/)
      .filter((word) => /\w/.test(word)).length
    if (words > maxWords) yield { line, message: `a sentence of ${words} words: at most ${maxWords}` }
    // A bold lead-in is a heading.
    if (/^[*_\s]*(?:What|Who)\b/.test(sentence) && !/\?\W*$|^\W*\*\*.*\*\*\s*$/.test(sentence))
      yield { line, message: 'a sentence that begins with What or Who: name the thing or the actor' }
  }
}

export function findingsIn(text: Text, maxWords: number): readonly Finding[] {
  return [...phrases(text), ...repetitions(text), ...(text.isSentences ? sentences(text, maxWords) : [])]
}
