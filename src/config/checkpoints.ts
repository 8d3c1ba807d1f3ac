import { createPrivateKey } from 'node:crypto'
import type { EnvReader } from '../lib/env.ts'

/** Signed checkpoints. A node takes them when it has a key. */
export function readCheckpoints(read: EnvReader) {
  const intervalMs = read.duration('STARCITE_CHECKPOINT_INTERVAL', { default: '5m', min: '1s', max: '7d' })
  const key = read.raw('STARCITE_CHECKPOINT_KEY')
  const keyFile = read.text('STARCITE_CHECKPOINT_KEY_FILE', undefined)
  // Some places that set variables take one line only: \n stands for a line end.
  const privateKey = key?.value.replaceAll('\\n', '\n')
  if (privateKey !== undefined && keyFile !== undefined)
    read.problems.push('only one of STARCITE_CHECKPOINT_KEY and STARCITE_CHECKPOINT_KEY_FILE can be set')
  if (privateKey !== undefined && !isEd25519(privateKey))
    read.problems.push(
      'STARCITE_CHECKPOINT_KEY must be an Ed25519 private key, PKCS#8 as PEM, such as one that `openssl genpkey -algorithm ed25519` makes',
    )
  return { intervalMs, privateKey, keyFile }
}

function isEd25519(pem: string): boolean {
  try {
    return createPrivateKey(pem).asymmetricKeyType === 'ed25519'
  } catch {
    return false
  }
}
