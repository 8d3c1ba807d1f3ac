import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import { err } from '../../terminal.ts'

export function keygenCommand(): Command {
  return new Command('keygen')
    .description('Make a key that signs checkpoints, and its public key.')
    .option('--output <file>', 'for the private key', 'checkpoint-key.pem')
    .option('--public <file>', 'for the public one', 'checkpoint-public.pem')
    .addHelpText(
      'after',
      '\nNo file is overwritten. The same as `openssl genpkey -algorithm ed25519`; docs/proofs.md says who gets which.',
    )
    .action(async ({ output, public: publicFile }: { output: string; public: string }) => {
      const { keyIdOf } = await import('../../../audit/checkpoints/signer.ts')
      const { privateKey, publicKey } = generateKeyPairSync('ed25519')
      await writeFile(output, privateKey.export({ type: 'pkcs8', format: 'pem' }), {
        mode: 0o600,
        flag: 'wx',
      })
      await writeFile(publicFile, publicKey.export({ type: 'spki', format: 'pem' }), { flag: 'wx' })
      err(`The key ${keyIdOf(publicKey)}: ${output} for nodes (STARCITE_CHECKPOINT_KEY_FILE), `)
      err(`${publicFile} for whoever checks.\n`)
    })
}
