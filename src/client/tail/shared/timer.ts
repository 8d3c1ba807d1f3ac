/** Runs `act` after `ms`. Returns the function that cancels it. The timer does not keep a Node.js process alive. */
export function later(ms: number, act: () => void): () => void {
  const timer = setTimeout(act, ms) as unknown as { unref?(): void } & number
  timer.unref?.()
  return () => clearTimeout(timer)
}
