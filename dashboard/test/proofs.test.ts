// SPDX-License-Identifier: MIT

import { expect, test } from "vitest";
import { Wrong, checkInclusionProof, inclusionProof, parseJson, utf8 } from "verify-bundle";

import { vectors } from "./vectors.ts";

interface Trees {
  inclusion: object[];
  refused_inclusion: { reason: string; proof: object }[];
}

const { inclusion, refused_inclusion: refused } = vectors<Trees>("provenance_tree.json");

/** Check a proof file against the root that it names. */
function check(file: object): void {
  const proof = inclusionProof(parseJson(utf8(JSON.stringify(file)), "proof"), "proof");
  checkInclusionProof(proof, proof.root);
}

test("proofs of every node of a run hold", () => {
  expect(inclusion.length).toBeGreaterThan(0);
  for (const file of inclusion) check(file);
});

test.each(refused)("$reason is refused", ({ proof }) => {
  expect(() => check(proof)).toThrow(Wrong);
});
