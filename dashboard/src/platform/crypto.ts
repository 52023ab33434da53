// SPDX-License-Identifier: MIT

/**
 * What scripts/verify_bundle.mjs uses of `node:crypto`, for browsers. WebCrypto answers with promises, one for each hash,
 * and is not there on pages that came by plain HTTP; a file of samples alone has a hundred thousand hashes.
 */

import { ed25519 } from "@noble/curves/ed25519.js";
import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { sha3_256 } from "@noble/hashes/sha3.js";

import { Buffer } from "./buffer.ts";

const HASHES = new Map([
  ["sha1", sha1],
  ["sha256", sha256],
  ["sha3-256", sha3_256],
]);

/** Return a hash that takes bytes once and gives its digest. */
export function createHash(name: string): { update(data: Uint8Array): { digest(): Buffer } } {
  const hash = HASHES.get(name);
  if (hash === undefined) throw new Error(`there is no hash ${name}`);
  return { update: (data) => ({ digest: () => Buffer.from(hash(data)) }) };
}

/** Return the 32 bytes of an Ed25519 key out of its JSON Web Key. */
export function createPublicKey({ key }: { key: { x: string } }): Buffer {
  return Buffer.from(key.x, "base64url");
}

/** Tell whether a signature of Ed25519 holds (RFC 8032), refusing the malleable ones that ZIP 215 lets pass. */
export function verify(_algorithm: null, data: Uint8Array, key: Buffer, signature: Uint8Array): boolean {
  return ed25519.verify(signature, data, key, { zip215: false });
}
