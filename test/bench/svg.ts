import type { Machine } from './machine.ts'
import type { Row } from './rows/case.ts'
import { milliseconds, renderFigure } from './table.ts'
import type { Verdict } from './targets.ts'

const WIDTH = 880
const LABEL_WIDTH = 390
const BAR_WIDTH = 350
const MARGIN = 16
const LINE = 22

/** It follows the reader's system, and brings its own background for viewers that do not. */
const STYLE = `
  .page { fill: #ffffff }
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px } .small { font-size: 12px; fill: #656d76 }
  .compared { fill: #8c959f } .ours { fill: #2f6feb } .behind { opacity: .4 } .figure { text-anchor: end }
  .target { stroke: #cf222e; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 } .compared { fill: #7d8590 } .ours { fill: #4493f8 }
    .target { stroke: #ff7b72 }
  }`

interface Bar {
  readonly label: string
  readonly value: number
  /** A second, longer bar behind it: the p99 behind a p50. */
  readonly behind?: number
  readonly target?: number | undefined
  readonly text: string
  readonly kind: 'compared' | 'ours'
}

export function renderPlot(rows: readonly Row[], verdicts: readonly Verdict[], machine: Machine): string {
  const rates = (groups: readonly string[]) =>
    rows
      .filter((row) => groups.includes(row.group) && row.unit === 'per second')
      .map((row) => rateBar(row, verdicts))
  const latencies = rows.flatMap((row) => latencyBar(row, verdicts))
  const panels: [string, Bar[]][] = [
    ['Single appends per second', rates(['floor', 'baseline', 'ours', 'hot', 'socket'])],
    ['Many at once: events per second', rates(['batches', 'direct'])],
    ['Replay: events per second', rates(['replay'])],
    ['Cold storage: events per second', rates(['cold'])],
    ['Milliseconds: p50, and p99 behind it', latencies],
  ]
  let y = 34
  const parts: string[] = []
  for (const [title, bars] of panels) {
    if (bars.length === 0) continue
    parts.push(text(MARGIN, y, title, 'title'))
    parts.push(...renderBars(bars, y + 10))
    y += bars.length * LINE + 48
  }
  const about =
    `${machine.cpu}, ${machine.cores} cores shared by node, Postgres ${machine.postgres} and load; ` +
    `Node ${machine.node}; ${machine.date.slice(0, 10)}, ${machine.commit}. Red: target.`
  parts.push(text(MARGIN, y - 10, about, 'small'))
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 6}" role="img" ` +
    `aria-label="Benchmark results">\n<style>${STYLE}\n</style>\n` +
    `<rect class="page" width="100%" height="100%" rx="6"/>\n${parts.join('\n')}\n</svg>\n`
  )
}

function rateBar(row: Row, verdicts: readonly Verdict[]): Bar {
  // A ratio's target, in the unit of the bar.
  const targets = verdicts
    .filter((verdict) => verdict.row === row.id && verdict.bound === 'at least')
    .map((verdict) => (verdict.wanted / verdict.got) * row.value)
  const target = targets.length === 0 ? undefined : Math.max(...targets)
  return { label: row.name, value: row.value, target, text: renderFigure(row), kind: kindOf(row) }
}

function latencyBar(row: Row, verdicts: readonly Verdict[]): Bar[] {
  const { p50, p99 } = row
  if (p50 === undefined || p99 === undefined || row.group === 'direct') return []
  const target = verdicts.find((verdict) => verdict.row === row.id && verdict.what.startsWith('ms'))?.wanted
  const both = `${milliseconds(p50)} / ${milliseconds(p99)}`
  return [{ label: row.name, value: p50, behind: p99, target, text: both, kind: kindOf(row) }]
}

function kindOf({ group }: Row): Bar['kind'] {
  return ['floor', 'baseline', 'commit'].includes(group) ? 'compared' : 'ours'
}

function renderBars(bars: readonly Bar[], top: number): string[] {
  const scale = BAR_WIDTH / Math.max(...bars.flatMap((bar) => [bar.value, bar.behind ?? 0, bar.target ?? 0]))
  return bars.flatMap((bar, i) => {
    const y = top + i * LINE
    const parts = [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 14}" text-anchor="end">${escaped(bar.label)}</text>`,
    ]
    if (bar.behind !== undefined) parts.push(rect(y, bar.behind * scale, `${bar.kind} behind`))
    parts.push(rect(y, bar.value * scale, bar.kind))
    if (bar.target !== undefined) parts.push(tick(y, LABEL_WIDTH + bar.target * scale))
    parts.push(text(WIDTH - MARGIN, y + 14, bar.text, 'small figure'))
    return parts
  })
}

function rect(y: number, width: number, style: string): string {
  return `<rect class="${style}" x="${LABEL_WIDTH}" y="${y + 3}" width="${width.toFixed(1)}" height="${LINE - 7}" rx="2"/>`
}

function tick(y: number, x: number): string {
  const at = x.toFixed(1)
  return `<line class="target" x1="${at}" x2="${at}" y1="${y + 1}" y2="${y + LINE - 2}"/>`
}

function text(x: number, y: number, content: string, style: string): string {
  return `<text class="${style}" x="${x.toFixed(1)}" y="${y}">${escaped(content)}</text>`
}

const escaped = (content: string) => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
