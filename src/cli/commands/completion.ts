import { Argument, Command } from 'commander'
import { out } from '../terminal.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('Print what makes a shell complete commands and options.')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText(
      'after',
      `
  bash:  source <(starcite completion bash)                in ~/.bashrc
  zsh:   source <(starcite completion zsh)                 in ~/.zshrc, after compinit
  fish:  starcite completion fish > ~/.config/fish/completions/starcite.fish`,
    )
    .action((shell: (typeof SHELLS)[number]) => void out(SCRIPTS[shell](verbsOf(program))))
}

interface Verb {
  readonly name: string
  readonly description: string
  readonly options: readonly { readonly flag: string; readonly description: string }[]
}

/** Read off the commands themselves, so that none can be forgotten. */
function verbsOf(program: Command): readonly Verb[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: command
      .createHelp()
      .visibleOptions(command)
      .flatMap(({ long, description }) => (long ? [{ flag: long, description }] : [])),
  }))
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], (verbs: readonly Verb[]) => string>> = {
  bash: (verbs) => `_starcite() {
  local word=\${COMP_WORDS[COMP_CWORD]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quoted(verbs.map((it) => it.name).join(' '))} -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${verbs
  .map(
    ({ name, options }) => `    ${name})
      COMPREPLY=($(compgen -W ${quoted([...options.map((it) => it.flag), ...(name === 'completion' ? SHELLS : [])].join(' '))} -- "$word")) ;;`,
  )
  .join('\n')}
  esac
}
complete -o default -F _starcite starcite
`,
  zsh: (verbs) => `#compdef starcite
_starcite() {
  local -a verbs
  verbs=(
${verbs.map(({ name, description }) => `    ${quoted(`${name}:${description}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command verbs
    return
  fi
  case "$words[2]" in
${verbs
  .map(
    ({ name, options }) => `    ${name})
      compadd -- ${[...options.map((it) => it.flag), ...(name === 'completion' ? SHELLS : [])].join(' ')} ;;`,
  )
  .join('\n')}
  esac
}
compdef _starcite starcite
`,
  fish: (verbs) =>
    verbs
      .flatMap(({ name, description, options }) => [
        `complete -c starcite -n __fish_use_subcommand -f -a ${name} -d ${fishQuoted(description)}`,
        ...options.map(
          (it) =>
            `complete -c starcite -n '__fish_seen_subcommand_from ${name}' -l ${it.flag.slice(2)} -d ${fishQuoted(it.description)}`,
        ),
        ...(name === 'completion'
          ? [`complete -c starcite -n '__fish_seen_subcommand_from completion' -f -a '${SHELLS.join(' ')}'`]
          : []),
        '',
      ])
      .join('\n'),
}

const fishQuoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
