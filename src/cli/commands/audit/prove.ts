import { Command } from 'commander'
import type { ProofRequest } from '../../../audit/proofs/prove.ts'
import { writeNewFile } from '../../audit/newFile.ts'
import { integer } from '../../optionValues.ts'
import { DEFAULT_TENANT } from '../../tenant.ts'
import { amount, err, out } from '../../terminal.ts'

interface Options {
  readonly tenant: string
  readonly output?: string
  readonly withoutContent?: true
}

export function proveCommand(): Command {
  return new Command('prove')
    .description(
      'Make a proof that a session has this event, for a reader who trusts neither node nor operator.',
    )
    .argument('<session>', 'session id')
    .argument('<seq>', 'seq of the event', integer('<seq>', 1))
    .option('--tenant <id>', 'tenant of the session', DEFAULT_TENANT)
    .option('--output <file>', 'file to write (default: standard output)')
    .option('--without-content', 'prove the digest of the event, and leave its content out')
    .addHelpText(
      'after',
      `
Uses the environment of a node. A signed checkpoint must cover the event (STARCITE_CHECKPOINT_KEY). docs/proofs.md says what
a proof discloses, and how to check it without any of Starcite's code.

  starcite audit prove ses_demo 3 --output proof.json
  starcite audit check-proof proof.json --public-key checkpoint-public.pem`,
    )
    .action((session: string, seq: number, { tenant, output, withoutContent }: Options) =>
      makeProof({ sessionId: session, seq, tenantId: tenant, hasContent: !withoutContent }, output),
    )
}

async function makeProof(request: ProofRequest, output: string | undefined): Promise<void> {
  const [{ withSources }, { prove }] = await Promise.all([
    import('../../sources.ts'),
    import('../../../audit/proofs/prove.ts'),
  ])
  const proof = await withSources(({ db, store }) => prove(db, store, request))
  const text = `${JSON.stringify(proof, null, 2)}\n`
  if (output === undefined) out(text)
  else await writeNewFile('--output', output, text)
  const { number, time } = JSON.parse(proof.checkpoint) as { number: number; time: string }
  const others = proof.links.length - 1
  const covered = `${output ?? 'The proof'}: event ${request.seq} is covered by checkpoint ${number} of ${time}`
  const content = proof.event === null ? 'the digest of its content' : 'its content'
  const envelopes = others === 0 ? '' : `, and type, actor and time of the ${amount(others)} after it`
  err(`${covered}. It shows ${content}${envelopes}.\n`)
}
