import { Command } from 'commander'
import type { SetExitCode } from '../exit.ts'
import { checkProofCommand } from './audit/checkProof.ts'
import { checkpointsCommand } from './audit/checkpoints.ts'
import { keygenCommand } from './audit/keygen.ts'
import { proveCommand } from './audit/prove.ts'

/** What an auditor does from the command line: each a command of its own. */
export function auditCommand(setExitCode: SetExitCode): Command {
  const audit = new Command('audit').description('Prove events, and verify what was signed (docs/proofs.md).')
  for (const command of [
    proveCommand(),
    checkProofCommand(setExitCode),
    checkpointsCommand(setExitCode),
    keygenCommand(),
  ])
    audit.addCommand(command)
  return audit
}
