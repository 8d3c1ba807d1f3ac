import {
  listDue,
  listRequests,
  listRules,
  type Rule,
  removeRule,
  setRule,
  trustClock,
} from '../sessions/retentionQueries.ts'
import { asOwner } from './owner.ts'
import { amount, escapeControlCharacters, out, showTable } from './terminal.ts'

export async function showRules(json: boolean): Promise<void> {
  const rules = await asOwner(listRules)
  if (json) return void out(rules.map((it) => `${JSON.stringify(it)}\n`).join(''))
  if (rules.length === 0) return void out('There are no rules: nothing is erased by age.\n')
  showTable([
    ['TENANT', 'CONTENT AFTER', 'SESSIONS AFTER'],
    ...rules.map((it) => [
      it.tenant === null ? '(every other)' : escapeControlCharacters(it.tenant),
      it.content_after ?? 'never',
      it.session_after ?? 'never',
    ]),
  ])
}

export async function changeRule(rule: Rule): Promise<void> {
  await asOwner((db) => setRule(db, rule))
  out(
    `${whose(rule.tenant)}: content ${rule.content_after ? `is erased after ${rule.content_after}` : 'is never erased'}, ` +
      `sessions ${rule.session_after ? `are after ${rule.session_after} without anything new` : 'never'}.\n`,
  )
}

export async function dropRule(tenant: string | null): Promise<void> {
  if (!(await asOwner((db) => removeRule(db, tenant)))) throw new Error(`${whose(tenant)}: there is no rule`)
  out(`${whose(tenant)}: the rule is gone.\n`)
}

/** What the rules would erase now. */
export async function showDue(json: boolean): Promise<void> {
  const { sessions, segments } = await asOwner(listDue)
  if (json) {
    for (const it of sessions) out(`${JSON.stringify({ kind: 'session', ...it })}\n`)
    for (const it of segments) out(`${JSON.stringify({ kind: 'segment', ...it })}\n`)
    return
  }
  if (sessions.length + segments.length === 0) return void out('Nothing is due.\n')
  if (sessions.length > 0)
    showTable([
      ['TENANT', 'SESSION', 'EVENTS', 'IDLE SINCE'],
      ...sessions.map((it) => [
        escapeControlCharacters(it.tenant),
        escapeControlCharacters(it.session),
        amount(it.events),
        seconds(it.idle_since),
      ]),
    ])
  if (segments.length > 0)
    showTable([
      ['TENANT', 'CONTENT OF SEGMENT', 'EVENTS', 'ENDED', 'SESSIONS', 'OF THEM HELD'],
      ...segments.map((it) => [
        escapeControlCharacters(it.tenant),
        it.segment,
        amount(it.events),
        seconds(it.ended_at),
        amount(it.sessions),
        amount(it.held),
      ]),
    ])
}

/** What was requested, and whether anything will come of it. */
export async function showRequests(json: boolean): Promise<void> {
  const { requests, clockAhead } = await asOwner(listRequests)
  if (json) return void out(requests.map((it) => `${JSON.stringify(it)}\n`).join(''))
  if (clockAhead !== null)
    out(
      `Nothing is erased by age: the database's clock was found to run ${clockAhead} ahead (docs/erasure.md).\n`,
    )
  if (requests.length === 0) return void out('Nothing was requested.\n')
  showTable([
    ['TENANT', 'SESSION', 'CONTENT OF SEGMENT', 'REQUESTED', 'WATCHED FOR'],
    ...requests.map((it) => [
      escapeControlCharacters(it.tenant),
      escapeControlCharacters(it.session ?? ''),
      it.segment ?? '',
      seconds(it.requested_at),
      `${(it.watched_seconds / 3600).toFixed(1)} h`,
    ]),
  ])
}

export async function trustClockNow(): Promise<void> {
  await asOwner(trustClock)
  out("The database's clock is trusted. Nodes still refuse one that is ahead of their own.\n")
}

const whose = (tenant: string | null) =>
  tenant === null ? 'Every tenant without a rule of its own' : `Tenant ${escapeControlCharacters(tenant)}`
const seconds = (time: string) => time.slice(0, 19).replace('T', ' ')
