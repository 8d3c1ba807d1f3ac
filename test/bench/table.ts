import type { Row } from './rows/case.ts'
import type { Verdict } from './targets.ts'

type Line = readonly [name: string, figure: string, p50: string, p99: string, verdict: string]

const HEAD: Line = ['', 'median', 'p50', 'p99', 'against its target']

/** The whole run in one table. */
export function renderTable(rows: readonly Row[], verdicts: readonly Verdict[]): string {
  const lines: (Line | 'rule')[] = [HEAD]
  let group = ''
  for (const row of rows) {
    if (row.group !== group) lines.push('rule')
    group = row.group
    const [first = '', ...others] = verdicts.filter((verdict) => verdict.row === row.id).map(renderVerdict)
    lines.push([row.name, renderFigure(row), milliseconds(row.p50), milliseconds(row.p99), first])
    for (const other of others) lines.push(['', '', '', '', other])
  }
  const cells = lines.filter((line) => line !== 'rule')
  const widths = HEAD.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)))
  return lines.map((line) => renderLine(line, widths)).join('\n')
}

/** What a figure means where its name does not say it, once for all rows that it holds for. */
export function renderNotes(rows: readonly Row[]): string {
  const groups = new Map<string, Set<string>>()
  for (const { note, group } of rows)
    if (note !== undefined) groups.set(note, (groups.get(note) ?? new Set()).add(group))
  return [...groups].map(([note, names]) => `${[...names].join(', ')}: ${note}.`).join('\n')
}

function renderLine(line: Line | 'rule', widths: readonly number[]): string {
  if (line === 'rule') return widths.map((width) => '─'.repeat(width)).join('──')
  const pad = (cell: string, column: number) =>
    column === 0 || column === 4 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
  return line.map(pad).join('  ').trimEnd()
}

export function renderFigure({ value, unit }: Row): string {
  switch (unit) {
    case 'per second':
      return `${Math.round(value).toLocaleString('en')}/s`
    case '×':
      return `${value.toFixed(2)} ×`
    default:
      return `${value.toFixed(1)} ${unit}`
  }
}

function renderVerdict({ what, got, wanted, bound, met }: Verdict): string {
  const sign = bound === 'at least' ? '≥' : '≤'
  return `${met ? 'met   ' : 'MISSED'} ${short(got)} ${what} (${sign} ${wanted.toLocaleString('en')})`
}

function short(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en')
  return value.toFixed(value >= 10 ? 1 : 2)
}

export function milliseconds(value: number | undefined): string {
  return value === undefined ? '' : `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`
}
