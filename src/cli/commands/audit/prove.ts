import { Command } from 'commander'
import { integer } from '../../target.ts'

interface Options {
  readonly tenant: string
  readonly output?: string
  readonly withoutContent?: true
}

export function proveCommand(): Command {
  return new Command('prove')
    .description(
      'Make a proof that an event stands in a session as it is, for somebody who trusts nobody here.',
    )
    .argument('<session>')
    .argument('<seq>', 'of the event', integer('<seq>', 1))
    .option('--tenant <id>', 'whose session', 'default')
    .option('--output <file>', 'where it goes; without it, to standard output')
    .option('--without-content', 'prove the digest of the event, and do not show what was written')
    .addHelpText(
      'after',
      `
With the environment of a node. A signed checkpoint must cover the event (STARCITE_CHECKPOINT_KEY). docs/proofs.md says what
a proof shows to whoever gets it, and how it is checked without anything of ours.

  starcite audit prove ses_demo 3 --output proof.json
  starcite audit check-proof proof.json --public-key checkpoint-public.pem`,
    )
    .action(async (session: string, seq: number, { tenant, output, withoutContent }: Options) => {
      const { makeProof } = await import('../../audit/prove.ts')
      await makeProof({ sessionId: session, seq, tenantId: tenant, hasContent: !withoutContent }, output)
    })
}
