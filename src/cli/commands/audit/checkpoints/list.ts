import { Command } from 'commander'
import { integer } from '../../../optionValues.ts'
import { amount, out, printJsonLines, printTable } from '../../../terminal.ts'

interface Options {
  readonly limit: number
  readonly json?: true
}

export function listCommand(): Command {
  return new Command('list')
    .description('List checkpoints, the newest first.')
    .option('--limit <n>', 'list at most this many', integer('--limit', 1), 20)
    .option('--json', 'print one JSON object per line')
    .action(listCheckpoints)
}

async function listCheckpoints({ limit, json }: Options): Promise<void> {
  const [{ withSources }, { newestCheckpoints }] = await Promise.all([
    import('../../../sources.ts'),
    import('../../../../audit/checkpoints/verify/queries.ts'),
  ])
  const found = await withSources(({ db }) => newestCheckpoints(db, limit))
  if (json) return printJsonLines(found)
  if (found.length === 0)
    return void out('There is no checkpoint. Nodes with a key take them (docs/proofs.md).\n')
  printTable([
    ['NUMBER', 'TIME', 'SESSIONS', 'KEY', 'SHA256'],
    ...found.map((checkpoint) => [
      String(checkpoint.number),
      checkpoint.time.slice(0, 19),
      amount(checkpoint.leaves),
      checkpoint.key_id,
      checkpoint.sha256,
    ]),
  ])
}
