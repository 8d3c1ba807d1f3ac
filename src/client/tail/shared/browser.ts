/** The part of Web Locks that is used. */
export interface Locks {
  request(
    name: string,
    options: { readonly steal?: boolean; readonly signal?: AbortSignal },
    held: () => Promise<void> | undefined,
  ): Promise<unknown>
}

/** The part of BroadcastChannel that is used. */
export interface Channel {
  // biome-ignore lint/suspicious/noExplicitAny: it is checked by its reader
  onmessage: ((message: any) => void) | null
  postMessage(message: unknown): void
  close(): void
}

interface Browser {
  readonly navigator?: { readonly locks?: Locks }
  readonly BroadcastChannel?: new (name: string) => Channel
  readonly crypto?: { readonly subtle?: { digest(name: string, data: Uint8Array): Promise<ArrayBuffer> } }
}

interface Target {
  addEventListener(type: string, act: () => void): void
  removeEventListener(type: string, act: () => void): void
}

const isTarget = (value: unknown): value is Target =>
  typeof (value as Target | undefined)?.addEventListener === 'function'

const { navigator, BroadcastChannel, crypto } = globalThis as unknown as Browser

export interface TabApis {
  readonly locks: Locks
  readonly openChannel: (name: string) => Channel
  readonly sha256: (text: string) => Promise<string>
}

/** Calls `act` on these events of the page, where they exist. Returns the function that removes the listeners. */
export function onPage(types: readonly string[], act: () => void): () => void {
  const { document } = globalThis as { document?: unknown }
  const targets = [globalThis, document].filter(isTarget)
  for (const target of targets) for (const type of types) target.addEventListener(type, act)
  return () => {
    for (const target of targets) for (const type of types) target.removeEventListener(type, act)
  }
}

/** The browser's APIs by which tabs find each other; undefined without them, as a rule over plain HTTP. */
export function tabApis(): TabApis | undefined {
  const [locks, subtle] = [navigator?.locks, crypto?.subtle]
  if (locks === undefined || subtle === undefined || BroadcastChannel === undefined) return undefined
  return {
    locks,
    openChannel: (name) => new BroadcastChannel(name),
    sha256: async (text) => {
      const digest = await subtle.digest('SHA-256', new TextEncoder().encode(text))
      return [...new Uint8Array(digest)].map((it) => it.toString(16).padStart(2, '0')).join('')
    },
  }
}
