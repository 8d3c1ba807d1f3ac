import { readFile } from 'node:fs/promises'
import type { Config } from '../../config.ts'
import { KeyError, localSigner, type Signer } from './signer.ts'

/** The key of the configuration; undefined without one. Rejects with a KeyError when it cannot be used. */
export async function openSigner({
  privateKey,
  keyFile,
}: Config['checkpoints']): Promise<Signer | undefined> {
  if (keyFile === undefined) return privateKey === undefined ? undefined : localSigner(privateKey)
  try {
    return localSigner(await readFile(keyFile, 'utf8'))
  } catch (cause) {
    const { message } = cause as Error // of the system, with the path, or a KeyError's: neither has the key
    throw new KeyError(`STARCITE_CHECKPOINT_KEY_FILE, ${keyFile}: ${message}`, { cause })
  }
}
