/** Runs after some time; answers how to call that off. In Node.js it keeps no process alive. */
export function later(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms) as unknown as { unref?(): void } & number
  timer.unref?.()
  return () => clearTimeout(timer)
}
