// SPDX-License-Identifier: MIT

/** RFC 9162 roots over leaf hashes; proofs are checked by `rootFromInclusion` of verify_bundle.mjs. */

import { nodeHash, sha256 } from "verify-bundle";

/** The root over leaf hashes (section 2.1.1), or over those of complete subtrees of one size, the last smaller. */
export function rootOfLeaves(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256();
  let level = leaves;
  // A node without a sibling goes up as it is: pairing level by level makes the same tree as the largest power of two.
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeHash(level[i]!, level[i + 1]!));
    if (level.length % 2 === 1) above.push(level[level.length - 1]!);
    level = above;
  }
  return level[0]!;
}
