import { Command } from 'commander'
import { acknowledgeCommand, contradictionsCommand } from './checkpoints/contradictions.ts'
import { listCommand } from './checkpoints/list.ts'
import { takeCommand } from './checkpoints/take.ts'
import { verifyCommand } from './checkpoints/verify.ts'

/** Signed checkpoints of the logs. */
export function checkpointsCommand(): Command {
  return new Command('checkpoints')
    .description('Signed checkpoints of the logs: list, verify, take, contradictions, acknowledge.')
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(verifyCommand())
    .addCommand(takeCommand())
    .addCommand(contradictionsCommand())
    .addCommand(acknowledgeCommand())
}
