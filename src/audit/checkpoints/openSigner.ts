import { readFile } from 'node:fs/promises'
import type { Config } from '../../config.ts'
import { KeyError, localSigner, type Signer } from './signer.ts'

/** Opens the key of the configuration; undefined without one. Rejects with a KeyError when it cannot be used. */
export async function openSigner({
  privateKey,
  keyFile,
}: Config['checkpoints']): Promise<Signer | undefined> {
  if (keyFile === undefined) return privateKey === undefined ? undefined : localSigner(privateKey)
  try {
    return localSigner(await readFile(keyFile, 'utf8'))
  } catch (cause) {
    const { message } = cause as Error // the message has the path, and never the key
    throw new KeyError(`STARCITE_CHECKPOINT_KEY_FILE, ${keyFile}: ${message}`, { cause })
  }
}
