// SPDX-License-Identifier: MIT

/** Verification of a bundle: everything that needs no network by verify_bundle.mjs, and the connected chain's word. */

import { type BundleResult, type Json, type Trusted, type Verdict, combine, digest, mapping, object, parseJson, receipt, verifyBundle, worst } from "verify-bundle";

import { askChain, examined } from "./asking.ts";
import type { Chain } from "./chain.ts";
import type { Named } from "./registry.ts";
import { type NetworkCheck, type Report, WORDS } from "./report.ts";
import type { GivenFile } from "./verify.ts";

export interface BundleReport extends Report {
  facts: Pick<BundleResult, "run_id" | "phase" | "root" | "anchored" | "leaf">;
  /** The bundle, as far as it could be read. */
  value: Map<string, Json> | null;
}

/**
 * Verify a bundle.
 *
 * @throws Usage: it is not a bundle of this version.
 */
export async function verifyGivenBundle(
  { name, bytes }: GivenFile, trusted: Trusted, named: Named, chain: Chain | null,
): Promise<BundleReport> {
  const result = verifyBundle(bytes, name, { root: null, networks: null, trusted });
  const { steps, run_id, phase, root, anchored, leaf } = result;
  const facts = { run_id, phase, root, anchored, leaf };
  if (anchored === undefined) return { ...result, findings: [], networks: [], facts, value: null };
  const value = object(parseJson(bytes, name), name);
  const receipts = mapping(receipt)(value.get("receipts")!, name);
  const commitment = digest(anchored, name);
  const shown: NetworkCheck[] = [];
  const networks: NetworkCheck[] = [];
  for (const { network } of result.networks) {
    const one = receipts.get(network)!;
    const check = examined(network, one, commitment, trusted, named, chain);
    shown.push(check);
    networks.push(await askChain(check, one, commitment, trusted, named, chain));
  }
  const asked = networks.filter((check) => check.asked).map((check) => check.verdict);
  const verdicts = networks.map((check) => check.verdict);
  const isWrong = steps.slice(0, 5).some((step) => step.verdict === "TAMPERED");
  const verdict = isWrong ? "TAMPERED" : combine(verdicts, []);
  const inWords = wordsOf(networks);
  const detail = asked.length > 0 ? inWords : "no network was asked";
  const decided = steps.map((step) => {
    if (step.number === 7) return { ...step, verdict: worst(asked), detail };
    if (step.number === 6) return { ...step, verdict: worst(shown.map((check) => check.verdict)), detail: wordsOf(shown) };
    return step.number === 8 ? { ...step, verdict } : step;
  });
  const summary = isWrong ? result.summary : inWords;
  return { verdict, summary, steps: decided, findings: [], networks, facts, value };
}

function wordsOf(networks: { network: string; verdict: Verdict }[]): string {
  return networks.length === 0 ? "the bundle has no receipt" : networks.map(({ network, verdict }) => `${network}: ${WORDS[verdict]}`).join(", ");
}
