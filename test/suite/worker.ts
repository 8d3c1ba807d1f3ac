/** Runs the files that the runner names, one after the other, in one process: what they import is loaded once. */
import { readFileSync } from 'node:fs'
import Mocha from 'mocha'
import { expectContractKept } from '../support/contract.ts'
import { endOfTests } from '../support/mochaHooks.ts'
import { type FileResult, type Order, RESULT, type TestFigures } from './messages.ts'

/** For a machine that is many times slower, or has other work. */
const TIMEOUT_MS = 180_000
const KEPT = 5

process.on('message', (order: Order) => {
  if ('run' in order) void run(order.run, order.module)
  else if ('end' in order) void end()
})
process.on('disconnect', () => {
  if (!ending) process.exit(1) // the runner was killed
})

let ending = false

async function run(file: string, module: string): Promise<void> {
  const mocha = new Mocha({ timeout: TIMEOUT_MS, color: false, reporter: 'spec', ...grep() })
  const started = performance.now()
  const cpu = cpuMs()
  mocha.rootHooks({ afterAll: expectContractKept })
  mocha.addFile(module)
  const slowest: TestFigures[] = []
  let skipped = 0
  let passed = 0
  let failed = 0
  try {
    await mocha.loadFilesAsync()
    await new Promise<void>((resolve) => {
      const runner = mocha.run(() => resolve())
      runner.on('pass', (test) => slowest.push({ title: test.fullTitle(), ms: test.duration ?? 0 }))
      runner.on('end', () => {
        const { passes, failures, pending } = runner.stats ?? { passes: 0, failures: 1, pending: 0 }
        passed = passes
        failed = failures
        skipped = pending
      })
    })
  } catch (cause) {
    failed += 1
    console.log(`\n  1 failing\n\n  ${file} cannot be loaded:\n`, cause)
  }
  mocha.dispose()
  const result: FileResult = {
    file,
    passed,
    failed,
    skipped,
    ms: Math.round(performance.now() - started),
    cpuMs: Math.round(cpuMs() - cpu),
    slowest: slowest.sort((a, b) => b.ms - a.ms).slice(0, KEPT),
  }
  process.stdout.write(`\n${RESULT}${JSON.stringify(result)}\n`)
}

async function end(): Promise<void> {
  ending = true
  await endOfTests()
  process.disconnect()
}

const grep = () => (process.env.STARCITE_TEST_GREP ? { grep: process.env.STARCITE_TEST_GREP } : {})

/** Fields 14 to 17 of /proc/self/stat: user and system time of this process and of its children, in hundredths. */
function cpuMs(): number {
  if (process.platform !== 'linux') return 0
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field) * 10, 0)
}
