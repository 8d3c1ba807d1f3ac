/** Resolves in the next turn of the event loop, after pending writes were sent and arrived data was read. */
export const endOfTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
