// SPDX-License-Identifier: MIT

/** What a verification found out: the same shapes for records and bundles. */

import { type NetworkResult, type Step, type Verdict, worst } from "verify-bundle";

/** How people write a verdict. */
export const WORDS: Record<Verdict, string> = {
  VALID: "VALID",
  TAMPERED: "TAMPERED",
  DISAGREE: "CONTRADICTS ITSELF",
  NOT_FOUND: "NOT FOUND",
  PENDING: "PENDING",
  UNREACHABLE: "COULD NOT CHECK",
};

/** Something that is wrong, as exact as the evidence allows. */
export interface Finding {
  verdict: Verdict;
  place: string;
  message: string;
  expected: string | null;
  computed: string | null;
}

/** One network's answer; `asked` says that it is more than what the evidence shows by itself. */
export interface NetworkCheck extends Omit<NetworkResult, "state"> {
  /** On whose word alone its submitter rests, where nobody named them; then it is not shown. */
  hearsay: string | null;
  asked: boolean;
}

export interface Report {
  verdict: Verdict;
  summary: string;
  steps: Step[];
  findings: Finding[];
  networks: NetworkCheck[];
}

/** Return a finding: a number is not what others make it. */
export function disagree(place: string, message: string, stated: unknown, computed: unknown): Finding {
  return { verdict: "DISAGREE", place, message, expected: String(stated), computed: String(computed) };
}

/** Return a finding without two values to compare. */
export function finding(verdict: Verdict, place: string, message: string): Finding {
  return { verdict, place, message, expected: null, computed: null };
}

/** The numbered steps of a verification. */
export class Steps {
  readonly steps: Step[] = [];
  readonly findings: Finding[] = [];

  add(name: string, verdict: Verdict | null, detail: string): void {
    this.steps.push({ number: this.steps.length + 1, name, verdict, detail });
  }

  /** Close a step with what it found; nothing is VALID. */
  find(name: string, findings: Finding[], done: string): void {
    this.findings.push(...findings);
    const [first] = findings;
    if (first === undefined) this.add(name, "VALID", done);
    else this.add(name, worst(findings.map((each) => each.verdict)), `${first.place}: ${first.message}`);
  }

  /** Close a step with how often each verdict came. */
  count(name: string, verdicts: Verdict[], none: string): void {
    const counts = [...new Set(verdicts)].map((verdict) => `${verdicts.filter((each) => each === verdict).length} ${WORDS[verdict]}`);
    this.add(name, worst(verdicts), counts.length > 0 ? counts.join(", ") : none);
  }
}
