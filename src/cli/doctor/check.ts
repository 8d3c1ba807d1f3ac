/** The result of a check. `hint` says what to do about it. */
export interface Finding {
  readonly name: string
  readonly result: 'ok' | 'warning' | 'failed' | 'skipped'
  readonly message: string
  readonly hint?: string
}

/** Findings, each as soon as its check is done. */
export type Checks = AsyncGenerator<Finding, void, undefined>

export const ok = (name: string, message: string): Finding => ({ name, result: 'ok', message })
export const skipped = (name: string, message: string): Finding => ({ name, result: 'skipped', message })
export const warning = (name: string, message: string, hint: string): Finding => ({
  name,
  result: 'warning',
  message,
  hint,
})
export const failed = (name: string, error: unknown, hint: string): Finding => ({
  name,
  result: 'failed',
  message: error instanceof Error ? error.message || error.name : String(error),
  hint,
})
