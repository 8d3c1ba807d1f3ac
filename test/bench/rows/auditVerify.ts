import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { s3Env } from '../cold/s3Env.ts'
import { createSessions, type Lab, query } from '../lab.ts'
import { appendEvents } from '../load/appendEvents.ts'
import { agentEvents } from '../payloads.ts'
import { median } from '../stats.ts'
import type { Row } from './case.ts'

const MAIN = path.join(import.meta.dirname, '../../../dist/cli/main.js')
const SESSIONS = 100
const EVENTS = 200_000
const RUNS = 3
const APPENDED_AT_ONCE = 500

export const AUDIT_VERIFY = {
  id: 'audit-verify',
  group: 'audit',
  name: 'starcite audit verify of cold events, from S3 on loopback',
} as const

/** The command, as it is shipped, over sessions that are wholly in objects; every hash in them is real. */
export async function auditVerifyRow(lab: Lab): Promise<Row> {
  const s3 = await (await lab.s3()).call('settings', 'bench-audit')
  await lab.nodeOn('audit', 'audit', s3Env(s3)) // which migrates
  const url = await lab.database('audit')
  await append(url, await createSessions(url, 'audit', SESSIONS))
  await query(url, `update starcite.settings s set value = '-10 years' where s.name = 'hot_retention'`)
  const { objects, bytes } = await (await lab.tier()).call('move', { url, s3 })

  const rates: number[] = []
  for (let run = 0; run < RUNS; run += 1) {
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'audit', 'verify', '--json'], {
      env: { PATH: process.env.PATH, DATABASE_URL: url, ...s3Env(s3) },
    })
    const { events, findings, seconds } = JSON.parse(stdout.trim())
    if (events !== EVENTS || findings !== 0) throw new Error(`audit verify answered ${stdout}`)
    rates.push(events / seconds)
  }
  const note = `${EVENTS.toLocaleString('en')} events of ${SESSIONS} sessions in ${objects} objects, ${(bytes / EVENTS).toFixed(0)} bytes an event`
  return { ...AUDIT_VERIFY, unit: 'per second', value: median(rates), rounds: rates, note }
}

async function append(url: string, sessions: readonly string[]): Promise<void> {
  const each = EVENTS / SESSIONS
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const session of sessions)
      for (let from = 0; from < each; from += APPENDED_AT_ONCE)
        await appendEvents(client, Array(APPENDED_AT_ONCE).fill(session), agentEvents(APPENDED_AT_ONCE, from))
  } finally {
    await client.end()
  }
}
