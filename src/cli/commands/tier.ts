import { Command } from 'commander'
import type { SetExitCode } from '../exit.ts'

export function tierCommand(setExitCode: SetExitCode): Command {
  return new Command('tier')
    .description('Move the segments that are due to cold storage now, once.')
    .addHelpText(
      'after',
      `
It does what nodes do by themselves, under the same lock, with their environment variables. A segment is due when its end
is older than the retention that the last node to start has set. Exit code 1 when not all was moved, or when another node
is moving segments now. It may be interrupted at any moment: the next run goes on from there.`,
    )
    .action(async () => {
      const { moveSegments } = await import('../moveSegments.ts')
      setExitCode(await moveSegments())
    })
}
