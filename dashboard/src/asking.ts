// SPDX-License-Identifier: MIT

/** What a receipt is worth to somebody who named contracts and accounts, and asking the chain for the block it leads to. */

import { type Digest, type Receipt, type Trusted, CannotCheck, examine } from "verify-bundle";

import type { Chain } from "./chain.ts";
import type { Named } from "./registry.ts";
import type { NetworkCheck } from "./report.ts";

/** What a receipt shows by itself, to somebody who named whom and what they expect. */
export function examined(
  network: string, receipt: Receipt, commitment: Digest, trusted: Trusted, named: Named, chain: Chain | null,
): NetworkCheck {
  const found = examine(network, receipt, commitment, trusted);
  const hearsay = hearsayOf(found.facts, named);
  const check = { ...found, hearsay, asked: false };
  // Anything else is wrong, or not yet, whoever it is of.
  if (check.verdict !== "VALID" && check.verdict !== "UNREACHABLE") return check;
  const stranger = strangeness(found.facts, named);
  if (stranger !== null && isOf(chain, receipt)) return { ...check, asked: true, verdict: "TAMPERED", detail: stranger, remaining: [] };
  // On another chain the visitor may have named nobody, so that it counts neither way.
  if (stranger !== null) return { ...check, verdict: "UNREACHABLE", detail: stranger };
  if (hearsay === null || named.expected.length === 0) return check;
  return { ...check, verdict: "UNREACHABLE", detail: `nothing says who anchored it but ${hearsay}` };
}

/**
 * Settle what a receipt's evidence leaves open, as far as the connected chain can; every other check comes back as it is.
 *
 * A node that is silent or on another chain leaves the check as it was: that says nothing about the record.
 */
export async function askChain(
  check: NetworkCheck, receipt: Receipt, commitment: Digest, trusted: Trusted, named: Named, chain: Chain | null,
): Promise<NetworkCheck> {
  const isOpen = check.verdict === "UNREACHABLE" && check.driver === "ethereum" && check.block_hash !== null;
  if (!isOpen || chain === null || !isOf(chain, receipt)) return check;
  const number = receipt.evidence.get("block_number") as number; // it was examined
  try {
    const [block, final] = await Promise.all([chain.block(number), chain.finalNumber()]);
    await chain.requireSameChain();
    if (block === null || block.hash !== `0x${check.block_hash}`) {
      return { ...check, asked: true, verdict: "NOT_FOUND", detail: `the node's chain has another block ${number}`, remaining: [] };
    }
    const blocks = new Map([...trusted.blocks, [receipt.network_id, [...(trusted.blocks.get(receipt.network_id) ?? []), check.block_hash!]]]);
    const settled = examined(check.network, receipt, commitment, { ...trusted, blocks }, named, chain);
    const trusts = [`the node, which says that block 0x${check.block_hash} is in its chain`];
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

/** Whether a receipt is of the connected chain. */
function isOf(chain: Chain | null, receipt: Receipt): boolean {
  return chain !== null && !receipt.embedded && receipt.network_id === `eip155:${chain.chainId}`;
}

/** Why evidence is not of whom or where the visitor expects it, or null. */
function strangeness(facts: NetworkCheck["facts"], named: Named): string | null {
  const { submitter, contract } = facts;
  const { expected } = named;
  if (expected.length > 0 && submitter !== undefined && !expected.includes(String(submitter))) {
    return `it was anchored by ${submitter}, not by ${expected.join(", ")}`;
  }
  const address = namedContract(facts, named);
  return contract !== undefined && address !== null && contract !== address ? `it is in the contract ${contract}, not in ${address}` : null;
}

/**
 * The contract whose word alone it is who anchored a record, where it is none that the visitor named; else null.
 *
 * Its code is known, and what it was given by calls is right; but whoever deploys it can fill in its storage.
 */
function hearsayOf(facts: NetworkCheck["facts"], named: Named): string | null {
  const { contract } = facts;
  const isNamed = contract === undefined || namedContract(facts, named) === contract;
  return isNamed ? null : `the contract ${contract}, which nobody named: whoever deployed it could have filled in whom they liked`;
}

/** The contract that the visitor named for such evidence: only the registry's names an id. */
function namedContract(facts: NetworkCheck["facts"], { address, provenance }: Named): string | null {
  return facts.mrv_id === undefined ? provenance : address;
}
