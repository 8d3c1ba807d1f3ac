import { Command } from 'commander'
import { checkProofCommand } from './audit/checkProof.ts'
import { checkpointsCommand } from './audit/checkpoints.ts'
import { exportCommand } from './audit/export.ts'
import { keygenCommand } from './audit/keygen.ts'
import { loadCommand } from './audit/load.ts'
import { proveCommand } from './audit/prove.ts'
import { unloadCommand } from './audit/unload.ts'
import { verifyCommand } from './audit/verify.ts'

/** The verbs of an auditor, over events in Postgres and in cold storage. */
export function auditCommand(): Command {
  return new Command('audit')
    .description(
      'Verify, prove, export or load events of both tiers (docs/audit-offline.md, docs/proofs.md).',
    )
    .addCommand(verifyCommand())
    .addCommand(exportCommand())
    .addCommand(loadCommand())
    .addCommand(unloadCommand())
    .addCommand(proveCommand())
    .addCommand(checkProofCommand())
    .addCommand(checkpointsCommand())
    .addCommand(keygenCommand())
}
