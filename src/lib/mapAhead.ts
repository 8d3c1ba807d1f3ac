/**
 * What `start` resolves with for each item, in order, while up to `width` of the next are under way. Whoever stops early
 * leaves those to themselves.
 */
export async function* mapAhead<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  width: number,
  start: (item: T) => Promise<R>,
): AsyncGenerator<R, void> {
  const underWay: Promise<R>[] = []
  for await (const item of items) {
    const result = start(item)
    result.catch(() => {}) // reported when its turn comes, if it ever does
    underWay.push(result)
    if (underWay.length >= width) yield await (underWay.shift() as Promise<R>)
  }
  for (const result of underWay) yield await result
}
