/** Resolves in the next turn of the event loop: after what is ready to be written has left, and what has come was read. */
export const endOfTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
