import { Argument, Command } from 'commander'
import { out } from '../terminal.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

export function completionCommand(): Command {
  return new Command('completion')
    .description('Print a script that lets a shell complete commands and options.')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText(
      'after',
      `
  bash:  source <(starcite completion bash)                in ~/.bashrc
  zsh:   source <(starcite completion zsh)                 in ~/.zshrc, after compinit
  fish:  starcite completion fish > ~/.config/fish/completions/starcite.fish`,
    )
    .action((shell: (typeof SHELLS)[number], _options: object, { parent }: Command) => {
      if (parent) out(SCRIPTS[shell](verbsOf(parent)))
    })
}

interface Verb {
  readonly name: string
  readonly description: string
  readonly options: readonly { readonly flag: string; readonly description: string }[]
  /** Subcommands, such as those of `audit`. */
  readonly verbs: readonly Verb[]
}

/** The verbs of a program, read from its commands. */
function verbsOf(program: Command): readonly Verb[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: command.description(),
    options: command
      .createHelp()
      .visibleOptions(command)
      .flatMap(({ long, description }) => (long ? [{ flag: long, description }] : [])),
    verbs: verbsOf(command),
  }))
}

/** The words that may follow a verb. */
const wordsOf = ({ name, options, verbs }: Verb) =>
  [
    ...verbs.map((it) => it.name),
    ...options.map((it) => it.flag),
    ...(name === 'completion' ? SHELLS : []),
  ].join(' ')

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], (verbs: readonly Verb[]) => string>> = {
  bash: (verbs) => `_starcite() {
  local word=\${COMP_WORDS[COMP_CWORD]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${quoted(verbs.map((it) => it.name).join(' '))} -- "$word"))
    return
  fi
  local verb=\${COMP_WORDS[1]}
  [ "$COMP_CWORD" -gt 2 ] && verb="$verb \${COMP_WORDS[2]}"
  case "$verb" in
${casesOf(verbs, (words) => `COMPREPLY=($(compgen -W ${quoted(words)} -- "$word"))`)}
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
  local verb="$words[2]"
  (( CURRENT > 3 )) && verb="$verb $words[3]"
  case "$verb" in
${casesOf(verbs, (words) => `compadd -- ${words}`)}
  esac
}
compdef _starcite starcite
`,
  fish: (verbs) =>
    verbs
      .flatMap((verb) => [
        `complete -c starcite -n __fish_use_subcommand -f -a ${verb.name} -d ${fishQuoted(verb.description)}`,
        ...fishWords(verb, `__fish_seen_subcommand_from ${verb.name}`),
        ...verb.verbs.flatMap((it) => [
          `complete -c starcite -n '__fish_seen_subcommand_from ${verb.name}' -f -a ${it.name} -d ${fishQuoted(it.description)}`,
          ...fishWords(
            it,
            `__fish_seen_subcommand_from ${verb.name}; and __fish_seen_subcommand_from ${it.name}`,
          ),
        ]),
        '',
      ])
      .join('\n'),
}

/** Cases for `$verb`, which is a verb, and the word after it if there is one. */
function casesOf(verbs: readonly Verb[], complete: (words: string) => string): string {
  return verbs
    .flatMap((verb) => [
      ...verb.verbs.map(
        (it) => `    ${quoted(`${verb.name} ${it.name}`)})\n      ${complete(wordsOf(it))} ;;`,
      ),
      `    ${verb.name}|${quoted(`${verb.name} `)}*)\n      ${complete(wordsOf(verb))} ;;`,
    ])
    .join('\n')
}

function fishWords({ name, options }: Verb, condition: string): string[] {
  return [
    ...options.map(
      (it) =>
        `complete -c starcite -n '${condition}' -l ${it.flag.slice(2)} -d ${fishQuoted(it.description)}`,
    ),
    ...(name === 'completion' ? [`complete -c starcite -n '${condition}' -f -a '${SHELLS.join(' ')}'`] : []),
  ]
}

const fishQuoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
