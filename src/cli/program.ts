import { Command } from 'commander'
import { appendCommand } from './commands/append.ts'
import { auditCommand } from './commands/audit.ts'
import { checkConfigCommand } from './commands/checkConfig.ts'
import { completionCommand } from './commands/completion.ts'
import { createCommand } from './commands/create.ts'
import { doctorCommand } from './commands/doctor.ts'
import { healthcheckCommand } from './commands/healthcheck.ts'
import { holdCommand } from './commands/hold.ts'
import { migrateCommand } from './commands/migrate.ts'
import { psqlCommand } from './commands/psql.ts'
import { retentionCommand } from './commands/retention.ts'
import { serveCommand } from './commands/serve.ts'
import { sessionsCommand } from './commands/sessions.ts'
import { setAsideCommand } from './commands/setAside.ts'
import { tailCommand } from './commands/tail.ts'
import { tierCommand } from './commands/tier.ts'
import { tokenCommand } from './commands/token.ts'
import { EXIT, MEANINGS } from './exit.ts'
import { version } from './version.ts'

/** The verbs, in the order of `starcite --help`. */
const COMMANDS = [
  serveCommand,
  migrateCommand,
  tierCommand,
  createCommand,
  appendCommand,
  tailCommand,
  sessionsCommand,
  auditCommand,
  holdCommand,
  retentionCommand,
  setAsideCommand,
  psqlCommand,
  tokenCommand,
  checkConfigCommand,
  doctorCommand,
  healthcheckCommand,
  completionCommand,
]

/** The command line. Throws CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command('starcite')
    .description('Durable, ordered, replayable logs for AI sessions, on Postgres.')
    .version(version)
    .configureHelp({ showGlobalOptions: false })
    .showHelpAfterError('Add --help to see what the command takes.')
    .addHelpText('after', AFTER)
  for (const create of COMMANDS) program.addCommand(inherit(create(), program))
  return program.exitOverride()
}

/** Gives a command, and its subcommands, the settings of the program. */
function inherit(command: Command, parent: Command): Command {
  for (const subcommand of command.commands) inherit(subcommand, parent)
  return command.copyInheritedSettings(parent).exitOverride()
}

const AFTER = `
Three commands for a first session:
  starcite serve                                    (in one terminal; leave it running)
  starcite create ses_demo && starcite append ses_demo --type content --text hello
  starcite tail ses_demo

Exit codes:
${Object.entries(EXIT)
  .map(([name, code]) => `  ${code}  ${MEANINGS[name as keyof typeof EXIT]}`)
  .join('\n')}

docs/cli.md describes every command, docs/configuration.md every environment variable.`
