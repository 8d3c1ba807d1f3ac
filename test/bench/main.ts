import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Lab } from './lab.ts'
import { describeMachine } from './machine.ts'
import { measure } from './measure.ts'
import { type Options, readOptions } from './options.ts'
import { appendCases, sqlCases } from './rows/appends.ts'
import { chainCases, VERIFY, verifyRow } from './rows/audit.ts'
import { AUDIT_VERIFY, auditVerifyRow } from './rows/auditVerify.ts'
import type { Case, Row } from './rows/case.ts'
import { CHECKPOINT, checkpointCases, checkpointRow } from './rows/checkpoints.ts'
import { coldCases } from './rows/cold.ts'
import { DROP, dropRow, MOVE, moveRow } from './rows/coldOnce.ts'
import { MEMORY, memoryRow } from './rows/memory.ts'
import { SOAK, soakRow } from './rows/soak.ts'
import { tailCases } from './rows/tails.ts'
import { renderPlot } from './svg.ts'
import { renderNotes, renderTable } from './table.ts'
import { judge } from './targets.ts'
import { verify } from './verify.ts'

// Figures never fail the benchmark, however slow; wrong answers do.

type Once = [once: Pick<Case, 'id' | 'group' | 'name'>, measure: (lab: Lab) => Promise<Row | undefined>]

/** What needs no rounds. In this order: each leaves the machine to the next as it found it. */
const ONCE: readonly Once[] = [
  ...MEMORY.map((memoryCase): Once => [memoryCase, (lab) => memoryRow(lab, memoryCase)]),
  [DROP, dropRow],
  [MOVE, moveRow],
  [VERIFY, verifyRow],
  [AUDIT_VERIFY, auditVerifyRow],
  [CHECKPOINT, checkpointRow],
  [SOAK, soakRow],
]

const say = (message: string) => process.stderr.write(`${message}\n`)
const options = readOptions(process.argv.slice(2))
const lab = new Lab({ profileDir: options.profileDir })
const interrupted = new Promise<never>((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => reject(new Error(`stopped by ${signal}`)))
})
try {
  await Promise.race([run(options), interrupted])
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.exitCode = 1
} finally {
  await lab.stop()
}

async function run({ only, seconds, json }: Options): Promise<void> {
  const cases = [
    ...appendCases(lab),
    ...sqlCases(lab),
    ...chainCases(lab),
    ...tailCases(lab),
    ...coldCases(lab),
    ...checkpointCases(lab),
  ]
  refuseUnknown(only, [...cases, ...ONCE.map(([row]) => row)])
  const wanted = (row: { id: string; group: string }) =>
    only.length === 0 || only.includes(row.id) || only.includes(row.group)

  const rows: Row[] = await measure(cases.filter(wanted), seconds, say)
  for (const [once, measureOnce] of ONCE.filter(([row]) => wanted(row))) {
    say(`once: ${once.name}`)
    const row = await measureOnce(lab)
    if (row !== undefined) rows.push(row)
  }
  const acknowledged = await verify(lab)

  const verdicts = judge(rows)
  const machine = await describeMachine((await lab.postgres()).url)
  console.log(renderTable(rows, verdicts))
  console.log(`\n${renderNotes(rows)}`)
  console.log('Rates are medians of rounds, ratios of rates medians of the ratios in each round.')
  const count = acknowledged.toLocaleString('en')
  console.log(`${count} acknowledged appends are in the database, each under its own seq.`)
  if (json === undefined) return
  await mkdir(path.dirname(json), { recursive: true })
  await writeFile(json, `${JSON.stringify({ machine, seconds, acknowledged, rows, verdicts }, null, 2)}\n`)
  const plot = json.replace(/(\.json)?$/, '.svg')
  await writeFile(plot, renderPlot(rows, verdicts, machine))
  console.log(`Written: ${json}, ${plot}`)
}

function refuseUnknown(only: readonly string[], known: readonly Pick<Case, 'id' | 'group'>[]): void {
  const names = new Set(known.flatMap(({ id, group }) => [group, id]))
  const unknown = only.filter((name) => !names.has(name))
  if (unknown.length > 0)
    throw new Error(`--only: there is no ${unknown.join(', ')}; there are ${[...names].join(', ')}`)
}
