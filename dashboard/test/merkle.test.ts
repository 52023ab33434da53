// SPDX-License-Identifier: MIT

import { expect, test } from "vitest";
import { Wrong, hex, leafHash, rootFromInclusion, sha256 } from "verify-bundle";

import { rootOfLeaves } from "../src/merkle.ts";
import { vectors } from "./vectors.ts";

interface Proof {
  reason?: string;
  index: number;
  size: number;
  leaf_hash: string;
  path: string[];
  root: string;
}
interface Merkle {
  entries: string[];
  leaf_hashes: string[];
  roots: string[];
  inclusion: Proof[];
  refused_inclusion: Proof[];
  indistinguishable: Proof & { also_as: [number, number][] };
}

const { entries, leaf_hashes: hashes, roots, inclusion, refused_inclusion: refused, indistinguishable } = vectors<Merkle>("merkle.json");
const bytes = (digits: string) => Buffer.from(digits, "hex");
const rootOf = ({ leaf_hash: leaf, index, size, path }: Proof) => hex(rootFromInclusion(bytes(leaf), index, size, path.map(bytes)));

test("leaves and roots", () => {
  const leaves = entries.map((entry) => leafHash(bytes(entry)));
  expect(leaves.map(hex)).toEqual(hashes);
  for (let size = 0; size <= leaves.length; size++) expect(hex(rootOfLeaves(leaves.slice(0, size)))).toBe(roots[size]);
});

test("the roots of sections make the root", () => {
  const leaves = Array.from({ length: 300 }, (_, i) => sha256(`${i}`));
  for (let size = 1; size <= 300; size += 13) {
    for (const section of [1, 2, 4, 64]) {
      const parts: Uint8Array[] = [];
      for (let i = 0; i < size; i += section) parts.push(rootOfLeaves(leaves.slice(i, Math.min(size, i + section))));
      expect(hex(rootOfLeaves(parts))).toBe(hex(rootOfLeaves(leaves.slice(0, size))));
    }
  }
});

test("inclusion proofs lead to the root", () => {
  for (const proof of inclusion) expect(rootOf(proof)).toBe(proof.root);
  for (const [index, size] of indistinguishable.also_as) expect(rootOf({ ...indistinguishable, index, size })).toBe(indistinguishable.root);
});

test.each(refused)("$reason is refused", (proof) => {
  let found: string | null = null;
  try {
    found = rootOf(proof);
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
  }
  expect(found).not.toBe(proof.root);
});
