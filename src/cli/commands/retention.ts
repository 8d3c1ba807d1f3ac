import { Command } from 'commander'
import { dueCommand, requestsCommand } from './retention/due.ts'
import { listCommand, removeCommand, setCommand } from './retention/rules.ts'
import { trustClockCommand } from './retention/trustClock.ts'

/** Erasure by age. */
export function retentionCommand(): Command {
  return new Command('retention')
    .description('Erasure by age: list, set, remove, due, requests, trust-clock (docs/erasure.md).')
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(setCommand())
    .addCommand(removeCommand())
    .addCommand(dueCommand())
    .addCommand(requestsCommand())
    .addCommand(trustClockCommand())
    .addHelpText(
      'after',
      `
Uses the environment of a node, and needs a login that is a member of starcite_owner (STARCITE_TIERING_URL). Nodes carry
the rules out.

  starcite retention set --default --content-after 365d
  starcite retention set --tenant acme --content-after 90d --session-after 2y
  starcite retention due`,
    )
}
