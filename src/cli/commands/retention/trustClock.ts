import { Command } from 'commander'
import { trustClock } from '../../../sessions/retentionQueries.ts'
import { asOwner } from '../../owner.ts'
import { out } from '../../terminal.ts'

export function trustClockCommand(): Command {
  return new Command('trust-clock')
    .description("Trust the database's clock as it is now, after a node has found that it runs ahead.")
    .action(async () => {
      await asOwner(trustClock)
      out("The database's clock is trusted. A node still rejects a clock that is ahead of its own.\n")
    })
}
