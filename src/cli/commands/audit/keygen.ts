import { generateKeyPairSync } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { Command } from 'commander'
import { err } from '../../terminal.ts'

export function keygenCommand(): Command {
  return new Command('keygen')
    .description('Create a key pair for signing checkpoints.')
    .option('--output <file>', 'file of the private key', '.starcite/checkpoint-key.pem')
    .option('--public <file>', 'file of the public key', 'checkpoint-public.pem')
    .addHelpText(
      'after',
      '\nNo file is overwritten. The private key is as of `openssl genpkey -algorithm ed25519`; docs/proofs.md says who gets which.',
    )
    .action(async ({ output, public: publicFile }: { output: string; public: string }) => {
      const [{ keyIdOf }, { writeNewFile }, { writeGitignore }] = await Promise.all([
        import('../../../audit/checkpoints/signer.ts'),
        import('../../audit/newFile.ts'),
        import('../../../db/embedded/location.ts'),
      ])
      const { privateKey, publicKey } = generateKeyPairSync('ed25519')
      const privatePem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
      const publicPem = publicKey.export({ type: 'spki', format: 'pem' }) as string
      const folder = path.dirname(path.resolve(output))
      if (path.basename(folder) === '.starcite') await mkdir(folder, { recursive: true })
      await writeGitignore(folder)
      await writeNewFile('--output', output, privatePem, 0o600)
      try {
        await writeNewFile('--public', publicFile, publicPem)
      } catch (error) {
        await rm(output) // without its public key it is of no use
        throw error
      }
      err(
        `Key ${keyIdOf(publicKey)}: ${output} is private: keep it out of repositories and images, and give it to nodes ` +
          '(STARCITE_CHECKPOINT_KEY_FILE). ',
      )
      err(`${publicFile} is for verifiers.\n`)
    })
}
