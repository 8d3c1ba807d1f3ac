import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'

/** Signs checkpoints, with a key of this process or of a key management service. */
export interface Signer {
  /** keyIdOf(publicKey). */
  readonly keyId: string
  readonly publicKey: KeyObject
  /** An Ed25519 signature, 64 bytes, of exactly these bytes. */
  sign(bytes: Buffer): Promise<Buffer>
}

/** The id of a key: the first 16 hex digits of the SHA-256 of the public key as SPKI in DER. */
export function keyIdOf(publicKey: KeyObject): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' })).slice(0, 16)
}

/** A key that cannot be read, or is not of the needed kind. The message never quotes the key. */
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
      // createPublicKey would accept a private key, too. It is refused, so that private keys are not passed around.
      if (/PRIVATE KEY/.test(pem)) throw new KeyError('the file has a private key; give the public key')
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
    // The message of OpenSSL is omitted: it does not help, and might quote the key.
  }
  if (key?.asymmetricKeyType !== 'ed25519') throw new KeyError(`this is not ${what}`)
  return key
}
