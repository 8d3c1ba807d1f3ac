import { Command } from 'commander'
import type { SetExitCode } from '../exit.ts'
import { checkProofCommand } from './audit/checkProof.ts'
import { checkpointsCommand } from './audit/checkpoints.ts'
import { exportCommand } from './audit/export.ts'
import { keygenCommand } from './audit/keygen.ts'
import { loadCommand, unloadCommand } from './audit/load.ts'
import { proveCommand } from './audit/prove.ts'
import { verifyCommand } from './audit/verify.ts'

/** What an auditor does from the command line: each a command of its own. */
export function auditCommand(setExitCode: SetExitCode): Command {
  const audit = new Command('audit').description(
    'Verify, prove, export or load events, wherever they are (docs/audit-offline.md, docs/proofs.md).',
  )
  for (const command of [
    verifyCommand(setExitCode),
    exportCommand(),
    loadCommand(),
    unloadCommand(),
    proveCommand(),
    checkProofCommand(setExitCode),
    checkpointsCommand(setExitCode),
    keygenCommand(),
  ])
    audit.addCommand(command)
  return audit
}
