import { readFile } from 'node:fs/promises'
import { Command } from 'commander'
import { EXIT, type SetExitCode, UsageError } from '../../exit.ts'
import { escapeControlCharacters, out } from '../../terminal.ts'

export function checkProofCommand(setExitCode: SetExitCode): Command {
  return new Command('check-proof')
    .description('Check a proof against the public keys that you trust. Nothing else is needed.')
    .argument('<file>')
    .requiredOption('--public-key <files...>', 'as PEM; of whoever you believe')
    .addHelpText(
      'after',
      '\nExit code 1 when it proves nothing. docs/proofs.md has the same as a script of its own.',
    )
    .action(async (file: string, { publicKey }: { publicKey: string[] }) => {
      const [{ checkProof }, { ProofError }, { readPublicKeys }] = await Promise.all([
        import('../../../audit/proofs/check.ts'),
        import('../../../audit/proofs/errors.ts'),
        import('../../audit/publicKeys.ts'),
      ])
      const keys = await readPublicKeys(publicKey)
      const text = await readFile(file, 'utf8').catch((error: Error) => {
        throw new UsageError(`the proof ${file}: ${error.message}`)
      })
      try {
        const proven = checkProof(text, keys)
        const { tenantId, sessionId, seq, frame, type, actor, insertedAt, contentDigest, checkpoint } = proven
        const by = proven.subject === null ? actor : `${actor} (appended by ${proven.subject})`
        out(
          `Good: event ${seq} of session ${escapeControlCharacters(sessionId)} of tenant ${escapeControlCharacters(tenantId)},\n`,
        )
        out(
          `signed in checkpoint ${checkpoint.number} of ${checkpoint.time} by the key ${checkpoint.keyId}.\n\n`,
        )
        const { discontinuity: broken } = proven
        if (broken !== null)
          out(
            `The log does NOT continue what checkpoint ${broken.number} signed, event ${broken.seq} with the hash ${broken.hash}. ` +
              `The operator says: ${escapeControlCharacters(broken.reason)}\n\n`,
          )
        if (frame === null)
          out(
            `${escapeControlCharacters(type)} by ${escapeControlCharacters(by)} at ${escapeControlCharacters(insertedAt)}; its content has the digest ${contentDigest}\n`,
          )
        else out(`${escapeControlCharacters(frame)}\n`)
      } catch (error) {
        if (!(error instanceof ProofError)) throw error
        out(`This proves nothing: ${escapeControlCharacters(error.message)}.\n`)
        setExitCode(EXIT.failed)
      }
    })
}
