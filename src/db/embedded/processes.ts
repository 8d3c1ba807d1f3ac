import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Whether the pid exists. A zombie counts, and so does any process that was given the pid later. */
export function answers(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * When the process began, in the system's own notation. Together with the pid it identifies one process for ever,
 * because pids are reused and start times are not. Undefined when the process has ended or is a zombie.
 */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
    // The second field is the program's name in brackets, which may itself have blanks and brackets.
    const [state, ...rest] = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
    return state === 'Z' || state === 'X' ? undefined : rest[18]
  }
  if (process.platform === 'win32') return answers(pid) ? 'alive' : undefined
  const ps = await run('ps', ['-p', String(pid), '-o', 'stat=,lstart=']).catch(() => undefined)
  const [state, ...started] = ps?.stdout.trim().split(/\s+/) ?? []
  return state === undefined || state.startsWith('Z') ? undefined : started.join(' ')
}

/** The command line, with blanks between its words. Empty for a zombie, or when the process has ended. */
export async function commandLineOf(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    return words.replaceAll('\0', ' ').trim()
  }
  const ps = await run('ps', ['-ww', '-p', String(pid), '-o', 'command=']).catch(() => undefined)
  return ps?.stdout.trim() ?? ''
}
