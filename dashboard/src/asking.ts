// SPDX-License-Identifier: MIT

/** Asking the connected chain whether it has the block that a receipt's evidence leads to. */

import { type Digest, type Receipt, type Trusted, CannotCheck, examine } from "verify-bundle";

import type { NetworkCheck } from "./report.ts";
import type { Registry } from "./registry.ts";

/** What a receipt shows by itself. */
export function examined(network: string, receipt: Receipt, commitment: Digest, trusted: Trusted): NetworkCheck {
  return { ...examine(network, receipt, commitment, trusted), asked: false };
}

/**
 * Settle what a receipt's evidence leaves open, as far as the connected chain can; every other check comes back as it is.
 *
 * A node that is silent or on another chain leaves the check as it was: that says nothing about the record.
 */
export async function askChain(
  check: NetworkCheck, receipt: Receipt, commitment: Digest, trusted: Trusted, registry: Registry | null,
): Promise<NetworkCheck> {
  const chain = registry?.chain;
  const askable = check.verdict === "UNREACHABLE" && check.driver === "ethereum" && check.block_hash !== null;
  if (!registry || !chain || !askable || receipt.embedded || check.network_id !== `eip155:${chain.chainId}`) return check;
  const stranger = strangeness(check, registry);
  if (stranger !== null) return { ...check, asked: true, verdict: "TAMPERED", detail: stranger, remaining: [] };
  const hearsay = hearsayOf(check, registry);
  if (hearsay !== null && registry.expected.length > 0) return { ...check, detail: `nothing says who anchored it but ${hearsay}` };
  const number = receipt.evidence.get("block_number") as number; // it was examined
  try {
    const [block, final] = await Promise.all([chain.block(number), chain.finalNumber()]);
    await chain.requireSameChain();
    if (block === null || block.hash !== `0x${check.block_hash}`) {
      return { ...check, asked: true, verdict: "NOT_FOUND", detail: `the node's chain has another block ${number}`, remaining: [] };
    }
    const blocks = new Map([...trusted.blocks, [receipt.network_id, [...(trusted.blocks.get(receipt.network_id) ?? []), check.block_hash!]]]);
    const settled = examine(check.network, receipt, commitment, { ...trusted, blocks });
    const trusts = [`the node, which says that block 0x${check.block_hash} is in its chain`];
    if (hearsay !== null) trusts.push(`for who anchored it, ${hearsay}`);
    if (settled.verdict !== "VALID") return { ...settled, trusts, asked: true };
    if (number > final) {
      return { ...settled, trusts, asked: true, verdict: "PENDING", detail: "its block is in the chain, and not final yet" };
    }
    return { ...settled, trusts, asked: true, detail: "the network holds it" };
  } catch (error) {
    if (!(error instanceof CannotCheck)) throw error;
    return { ...check, detail: `the network could not be asked: ${error.message}` };
  }
}

/** Why evidence is not of whom or where the visitor expects it, or null. */
function strangeness(check: NetworkCheck, registry: Registry): string | null {
  const { submitter, contract } = check.facts;
  const { expected } = registry;
  if (expected.length > 0 && submitter !== undefined && !expected.includes(String(submitter))) {
    return `it was anchored by ${submitter}, not by ${expected.join(", ")}`;
  }
  const named = namedContract(check, registry);
  return contract !== undefined && named !== null && contract !== named ? `it is in the contract ${contract}, not in ${named}` : null;
}

/**
 * The contract whose word alone it is who anchored a record, where the visitor has not named it; else null.
 *
 * Its code is known, and what it was given by calls is right; but whoever deploys it can fill in its storage.
 */
function hearsayOf(check: NetworkCheck, registry: Registry): string | null {
  const { contract } = check.facts;
  const isNamed = contract === undefined || namedContract(check, registry) !== null;
  return isNamed ? null : `the contract ${contract}, which nobody named: whoever deployed it could have filled in whom they liked`;
}

/** The contract that the visitor named for such evidence: only the registry's names an id. */
function namedContract({ facts }: NetworkCheck, { address, provenance }: Registry): string | null {
  return facts.mrv_id === undefined ? provenance : address;
}
