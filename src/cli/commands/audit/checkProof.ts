import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import type { Proven } from '../../../audit/proofs/check.ts'
import { readPublicKeys } from '../../audit/publicKeys.ts'
import { EXIT, setExitCode, UsageError } from '../../exit.ts'
import { escapeControlCharacters, out } from '../../terminal.ts'

export function checkProofCommand(): Command {
  return new Command('check-proof')
    .description('Check a proof against public keys that you trust. It needs no node and no database.')
    .argument('<file>', 'the proof')
    .requiredOption('--public-key <files...>', 'trusted public keys (PEM)')
    .addHelpText(
      'after',
      '\nExit code 1 when the proof does not hold. docs/proofs.md has the same check as a script of its own.',
    )
    .action(check)
}

async function check(file: string, { publicKey }: { publicKey: string[] }): Promise<void> {
  const [{ checkProof }, { ProofError }] = await Promise.all([
    import('../../../audit/proofs/check.ts'),
    import('../../../audit/proofs/errors.ts'),
  ])
  const keys = await readPublicKeys(publicKey)
  const text = await readFile(file, 'utf8').catch((error: Error) => {
    throw new UsageError(`the proof ${file}: ${error.message}`)
  })
  try {
    print(checkProof(text, keys))
  } catch (error) {
    if (!(error instanceof ProofError)) throw error
    out(`The proof does not hold: ${escapeControlCharacters(error.message)}.\n`)
    setExitCode(EXIT.failed)
  }
}

function print(proven: Proven): void {
  const { tenantId, sessionId, seq, frame, checkpoint, discontinuity } = proven
  const session = `session ${escapeControlCharacters(sessionId)} of tenant ${escapeControlCharacters(tenantId)}`
  out(`Good: event ${seq} of ${session},\n`)
  out(`signed in checkpoint ${checkpoint.number} of ${checkpoint.time} by the key ${checkpoint.keyId}.\n\n`)
  if (discontinuity !== null)
    out(
      `The log does NOT continue what checkpoint ${discontinuity.number} signed, event ${discontinuity.seq} with the hash ${discontinuity.hash}. ` +
        `The operator says: ${escapeControlCharacters(discontinuity.reason)}\n\n`,
    )
  if (frame !== null) return void out(`${escapeControlCharacters(frame)}\n`)
  const { type, actor, subject, insertedAt, contentDigest } = proven
  const by = subject === null ? actor : `${actor} (appended by ${subject})`
  out(
    `${escapeControlCharacters(type)} by ${escapeControlCharacters(by)} at ${escapeControlCharacters(insertedAt)}; its content has the digest ${contentDigest}\n`,
  )
}
