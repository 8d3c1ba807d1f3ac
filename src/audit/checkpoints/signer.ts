import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'

/** What signs checkpoints: a key in this process, or one that a key management service keeps and never gives away. */
export interface Signer {
  /** keyIdOf(publicKey). */
  readonly keyId: string
  readonly publicKey: KeyObject
  /** An Ed25519 signature, 64 bytes, of exactly these bytes. */
  sign(bytes: Buffer): Promise<Buffer>
}

/** The first 16 hexadecimal digits of the SHA-256 of the public key as SPKI in DER. */
export function keyIdOf(publicKey: KeyObject): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' })).slice(0, 16)
}

/** A key that is not one for this, or cannot be read. The message never quotes it. */
export class KeyError extends Error {
  override readonly name = 'KeyError'
}

/** A private key of this process: PKCS#8 as PEM. Throws a KeyError. */
export function localSigner(pem: string): Signer {
  const privateKey = readKey(pem, createPrivateKey, 'an Ed25519 private key (PKCS#8, PEM)')
  const publicKey = createPublicKey(privateKey)
  return {
    keyId: keyIdOf(publicKey),
    publicKey,
    sign: async (bytes) => sign(null, bytes, privateKey),
  }
}

/** Public keys by their ids, each SPKI as PEM. Throws a KeyError. */
export function trustedKeys(pems: readonly string[]): ReadonlyMap<string, KeyObject> {
  return new Map(
    pems.map((pem) => {
      // createPublicKey would take a private key, too: nobody should get used to handing that around.
      if (/PRIVATE KEY/.test(pem)) throw new KeyError('that is a private key; the public one is needed')
      const key = readKey(pem, createPublicKey, 'an Ed25519 public key (SPKI, PEM)')
      return [keyIdOf(key), key]
    }),
  )
}

export const isSignedBy = (key: KeyObject, bytes: Buffer, signature: Buffer): boolean =>
  verify(null, bytes, key, signature)

function readKey(pem: string, create: (pem: string) => KeyObject, what: string): KeyObject {
  let key: KeyObject | undefined
  try {
    key = create(pem)
  } catch {
    // What OpenSSL says of it helps nobody, and its words are not ours to vouch for.
  }
  if (key?.asymmetricKeyType !== 'ed25519') throw new KeyError(`this is not ${what}`)
  return key
}
