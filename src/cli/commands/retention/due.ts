import { Command } from 'commander'
import { listDue, listRequests } from '../../../sessions/retentionQueries.ts'
import { asOwner } from '../../owner.ts'
import { amount, out, printJsonLines, printTable, wholeSeconds } from '../../terminal.ts'

interface Options {
  readonly json?: true
}

export function dueCommand(): Command {
  return new Command('due')
    .description('List what the rules would erase now. Nothing is erased.')
    .option('--json', 'print one JSON object per line')
    .action(printDue)
}

export function requestsCommand(): Command {
  return new Command('requests')
    .description('List what the rules have requested, and will erase once STARCITE_RETENTION_GRACE is over.')
    .option('--json', 'print one JSON object per line')
    .action(printRequests)
}

async function printDue({ json }: Options): Promise<void> {
  const { sessions, segments } = await asOwner(listDue)
  if (json) {
    printJsonLines(sessions.map((session) => ({ kind: 'session', ...session })))
    return printJsonLines(segments.map((segment) => ({ kind: 'segment', ...segment })))
  }
  if (sessions.length + segments.length === 0) return void out('Nothing is due.\n')
  if (sessions.length > 0)
    printTable([
      ['TENANT', 'SESSION', 'EVENTS', 'IDLE SINCE'],
      ...sessions.map((session) => [
        session.tenant,
        session.session,
        amount(session.events),
        wholeSeconds(session.idle_since),
      ]),
    ])
  if (segments.length > 0)
    printTable([
      ['TENANT', 'CONTENT OF SEGMENT', 'EVENTS', 'ENDED', 'SESSIONS', 'OF THEM HELD'],
      ...segments.map((segment) => [
        segment.tenant,
        segment.segment,
        amount(segment.events),
        wholeSeconds(segment.ended_at),
        amount(segment.sessions),
        amount(segment.held),
      ]),
    ])
}

async function printRequests({ json }: Options): Promise<void> {
  const { requests, clockAhead } = await asOwner(listRequests)
  if (json) return printJsonLines(requests)
  if (clockAhead !== null)
    out(`Retention is paused: the database's clock was found to run ${clockAhead} ahead (docs/erasure.md).\n`)
  if (requests.length === 0) return void out('Nothing was requested.\n')
  printTable([
    ['TENANT', 'SESSION', 'CONTENT OF SEGMENT', 'REQUESTED', 'WATCHED FOR'],
    ...requests.map((request) => [
      request.tenant,
      request.session,
      request.segment,
      wholeSeconds(request.requested_at),
      `${(request.watched_seconds / 3600).toFixed(1)} h`,
    ]),
  ])
}
