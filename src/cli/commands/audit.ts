import { Command } from 'commander'
import type { SetExitCode } from '../exit.ts'
import { exportCommand } from './audit/export.ts'
import { loadCommand, unloadCommand } from './audit/load.ts'
import { verifyCommand } from './audit/verify.ts'

/** What an auditor does from the command line: each a command of its own. */
export function auditCommand(setExitCode: SetExitCode): Command {
  const audit = new Command('audit').description(
    'Prove, export or load events, wherever they are (docs/audit-offline.md).',
  )
  for (const command of [verifyCommand(setExitCode), exportCommand(), loadCommand(), unloadCommand()])
    audit.addCommand(command)
  return audit
}
