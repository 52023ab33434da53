// SPDX-License-Identifier: MIT

/** The browser's stand-ins for Node's modules do what Node's do. */

import * as nodeBuffer from "node:buffer";
import * as nodeCrypto from "node:crypto";
import { expect, test } from "vitest";

import { Buffer } from "../src/platform/buffer.ts";
import { createHash, createPublicKey, verify } from "../src/platform/crypto.ts";

test.each(["sha1", "sha256", "sha3-256"])("%s", (name) => {
  for (let size = 0; size < 300; size++) {
    const data = nodeCrypto.randomBytes(size);
    expect(createHash(name).update(data).digest().toString("hex")).toBe(nodeCrypto.createHash(name).update(data).digest("hex"));
  }
});

test("signatures of Ed25519", () => {
  const { publicKey, privateKey } = nodeCrypto.generateKeyPairSync("ed25519");
  const jwk = publicKey.export({ format: "jwk" }) as { x: string };
  const data = new TextEncoder().encode("a note\n");
  const signature = nodeCrypto.sign(null, data, privateKey);
  const key = createPublicKey({ key: jwk });
  expect(verify(null, data, key, signature)).toBe(true);
  for (let bit = 0; bit < 8 * signature.length; bit += 5) {
    const forged = new Uint8Array(signature);
    forged[bit >> 3]! ^= 1 << (bit & 7);
    expect(verify(null, data, key, forged)).toBe(false);
  }
  expect(verify(null, new TextEncoder().encode("another note\n"), key, signature)).toBe(false);
});

test("texts become the same bytes, and bytes the same texts", () => {
  const texts = ["", "a", "zz", "0g", "00ff", "FFee1", "caf\u00e9 \u{1f600}", "YQ==", "YQ", "YWI=", "_-8", "+/8=", "=", "YQ==YQ==", "AAAAA"];
  for (const text of texts) {
    for (const encoding of ["utf8", "latin1", "hex", "base64", "base64url"] as const) {
      expect([encoding, text, ...Buffer.from(text, encoding)]).toEqual([encoding, text, ...nodeBuffer.Buffer.from(text, encoding)]);
    }
  }
  const bytes = nodeCrypto.randomBytes(5000);
  for (const encoding of ["hex", "base64", "base64url", "latin1", "utf8"] as const) {
    expect(Buffer.from(bytes).toString(encoding)).toBe(bytes.toString(encoding));
  }
});

test("numbers are read and written where Node does", () => {
  const [ours, theirs] = [Buffer.alloc(32), nodeBuffer.Buffer.alloc(32)];
  for (const bytes of [ours, theirs]) {
    bytes.writeInt32LE(-5, 1);
    bytes.writeUInt32LE(4_000_000_000, 5);
    bytes.writeBigUInt64LE(2n ** 63n + 1n, 9);
    const part = bytes.subarray(20);
    part.writeBigUInt64BE(258n);
  }
  expect([...ours]).toEqual([...theirs]);
  expect(ours.subarray(1).readInt32LE(0)).toBe(-5);
  expect(ours.readUInt32LE(5)).toBe(4_000_000_000);
  expect(ours.readBigUInt64LE(9)).toBe(2n ** 63n + 1n);
  expect(Buffer.concat([ours, Buffer.from([1, 2])]).length).toBe(34);
  for (const [a, b] of [["", ""], ["a", ""], ["a", "b"], ["b", "ab"], ["ab", "ab"]] as const) {
    expect(Buffer.compare(Buffer.from(a), Buffer.from(b))).toBe(nodeBuffer.Buffer.compare(nodeBuffer.Buffer.from(a), nodeBuffer.Buffer.from(b)));
  }
});
