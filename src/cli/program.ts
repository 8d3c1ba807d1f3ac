import { Command } from 'commander'
import { appendCommand } from './commands/append.ts'
import { auditCommand } from './commands/audit.ts'
import { checkConfigCommand } from './commands/checkConfig.ts'
import { completionCommand } from './commands/completion.ts'
import { createCommand } from './commands/create.ts'
import { doctorCommand } from './commands/doctor.ts'
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
import type { SetExitCode } from './exit.ts'
import { version } from './version.ts'

/** The command line. Throws CommanderError instead of ending the process. */
export function createProgram(setExitCode: SetExitCode): Command {
  const program = new Command('starcite')
    .description('Durable, ordered, replayable logs for AI sessions, on Postgres.')
    .version(version)
    .configureHelp({ showGlobalOptions: false })
    .showHelpAfterError('Add --help for what the command takes.')
    .addHelpText('after', AFTER)
  const commands = [
    serveCommand(),
    migrateCommand(),
    tierCommand(setExitCode),
    createCommand(),
    appendCommand(),
    tailCommand(),
    sessionsCommand(),
    auditCommand(setExitCode),
    holdCommand(),
    retentionCommand(),
    setAsideCommand(),
    psqlCommand(setExitCode),
    tokenCommand(),
    checkConfigCommand(setExitCode),
    doctorCommand(setExitCode),
    completionCommand(program),
  ]
  for (const command of commands) program.addCommand(inherits(command, program))
  return program.exitOverride()
}

function inherits(command: Command, parent: Command): Command {
  for (const it of command.commands) inherits(it, parent)
  return command.copyInheritedSettings(parent).exitOverride()
}

const AFTER = `
A first session, in three commands:
  starcite serve                                    (in one terminal; leave it running)
  starcite create ses_demo && starcite append ses_demo --type content --text hello
  starcite tail ses_demo

Exit codes: 0 done; 1 it could not be done; 2 the command or the configuration is wrong; 4 the database cannot be used;
5 its schema is of a newer release. docs/cli.md has more, docs/configuration.md every environment variable.`
