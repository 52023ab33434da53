// SPDX-License-Identifier: MIT

/** Verification of a record: the steps and the verdict of mrv_core/mrv/verification.py, in a browser. */

import {
  type Digest, type Receipt, type Trusted, type Verdict, CannotCheck, Wrong, checkBatchProof, combine, demand, parseJson, short,
  worst,
} from "verify-bundle";

import { askChain, examined } from "./asking.ts";
import { type Chain, chainName } from "./chain.ts";
import { checkNumbers, checkSamples } from "./numbers.ts";
import { type RecordReceipts, parseReceipts } from "./receipts.ts";
import { MAX_RECORD_BYTES, type MrvRecord, hashOf, parseRecord } from "./record.ts";
import { type MrvRecord01, parseRecord01 } from "./record01.ts";
import { type Named, type Registered, type Registration, findRegistered } from "./registry.ts";
import { type Finding, type NetworkCheck, type Report, Steps, finding } from "./report.ts";
import { type SampleFile, parseSamples } from "./samples.ts";

/** A file that the visitor gave. */
export interface GivenFile {
  name: string;
  bytes: Uint8Array;
}

export interface RecordInput {
  file: GivenFile;
  /** Id under which it should be anchored; null for that of the receipts, or the one in it. */
  mrvId: string | null;
  receipts: GivenFile | null;
  samples: GivenFile | null;
  /** Which contracts count, and whose registrations. */
  named: Named;
  /** Whom to ask; null for nobody. */
  chain: Chain | null;
  trusted: Trusted;
}

export interface RecordReport extends Report {
  mrvId: string;
  hash: Digest;
  record: MrvRecord | MrvRecord01 | null;
  receipts: RecordReceipts | null;
  samples: SampleFile | null;
  registered: Registered | null;
}

/**
 * Read a record of any known schema, and return it with the hash that is anchored of it.
 *
 * @throws Wrong: no record, of an unknown schema, or not as its schema says.
 */
export function readRecord(bytes: Uint8Array, what: string): [MrvRecord | MrvRecord01, Digest] {
  const value = parseJson(bytes, what, MAX_RECORD_BYTES);
  const version = value instanceof Map && value.has("mrv_id") ? value.get("schema_version") : undefined;
  demand(typeof version === "string", `${what}: not an MRV record: it has no schema_version and mrv_id`);
  if (version === "1.0") return [parseRecord(bytes, what), hashOf(bytes)];
  if (version === "0.1") return parseRecord01(bytes, what);
  throw new Wrong(`${what}: schema version ${short(version, 40)} is not one that this page knows (0.1, 1.0)`);
}

/**
 * Verify a record.
 *
 * @throws Wrong: it is no record, and nothing here says that it ever was one; or the receipts are none.
 */
export async function verifyRecord(input: RecordInput): Promise<RecordReport> {
  const { file, named, chain, trusted } = input;
  const run = new Steps();
  // (1) Read within limits; the hash is over these bytes.
  const given = input.receipts === null ? null : parseReceipts(input.receipts.bytes, input.receipts.name);
  const [record, commitment] = readStep(run, file, given !== null);
  const mrvId = input.mrvId ?? given?.mrv_id ?? record!.mrv_id;

  // (2) Its numbers agree with one another.
  const isCurrent = record !== null && record.schema_version === "1.0";
  const numbers = "Its numbers agree with one another";
  if (isCurrent) run.find(numbers, checkNumbers(record), "total, emissions, times");
  else run.add(numbers, null, "nothing to compute them from");

  // (3) Its samples make the numbers.
  const samples = samplesStep(run, isCurrent ? record : null, input.samples);

  // (4) What is anchored under its id is this record.
  const beside = given !== null && given.mrv_id === mrvId ? given : null;
  const own = beside !== null && beside.commitment.text === commitment.text ? beside : null;
  const anchored = own?.anchored ?? commitment;
  const others = own === null && beside !== null ? [...new Set(beside.receipts.keys()), ...(beside.receipts.size === 0 ? ["any"] : [])] : [];
  const look = await lookUp(input, mrvId, commitment);
  const receipts = [...(own?.receipts ?? [])];
  const isAnchored = receipts.length > 0 || look.match !== null;
  const wrong = [
    ...idFindings(record, mrvId, isAnchored), ...batchFindings(own, commitment), ...look.findings(commitment, isAnchored),
    ...others.map((network) => ({
      ...finding("TAMPERED", `receipt:${network}`, `another record is anchored as ${mrvId}`),
      expected: beside!.commitment.text, computed: commitment.text,
    })),
  ];
  anchorStep(run, wrong, receipts.length + Number(look.match !== null), mrvId, commitment, look);

  // (5) Each receipt's evidence, by itself.
  const shown = receipts.map(([network, receipt]) => examined(network, receipt, anchored, trusted, named, chain));
  run.count("Each receipt's evidence holds by itself", shown.map((check) => check.verdict), "no receipt");

  // (6) The chain that the visitor named is asked.
  const checks = others.length > 0 ? shown : await askedChecks(shown, receipts, anchored, input, look.match);
  const ofThisId = checks.map((check) => requireId(check, mrvId));
  run.count("The networks are asked", ofThisId.filter((check) => check.asked).map((check) => check.verdict), "no network was asked");

  // (7) The rule decides.
  const verdict = decide(run, ofThisId, look.registered === null);
  run.add("The rule decides", verdict, "every receipt must be valid");
  return {
    verdict, summary: summaryOf(run, ofThisId, verdict, mrvId, look), steps: run.steps, findings: run.findings, networks: ofThisId, mrvId,
    hash: commitment, record, receipts: given, samples, registered: look.registered,
  };
}

/** What cannot be read any more, and is known to have been anchored, was changed. */
function readStep(run: Steps, { name, bytes }: GivenFile, isKnown: boolean): [MrvRecord | MrvRecord01 | null, Digest] {
  try {
    const [record, commitment] = readRecord(bytes, name);
    run.add("Read the record", "VALID", `schema ${record.schema_version}, ${commitment.text}`);
    return [record, commitment];
  } catch (error) {
    if (!(error instanceof Wrong) || !isKnown) throw error;
    run.find("Read the record", [finding("TAMPERED", name, error.message)], "");
    return [null, hashOf(bytes)];
  }
}

function samplesStep(run: Steps, record: MrvRecord | null, file: GivenFile | null): SampleFile | null {
  const name = "Its samples make the numbers";
  if (record?.ranks) {
    const detail = `they are in the records of its ranks, which this page does not read: mrv verify --samples`;
    run.add(name, file === null ? null : "UNREACHABLE", detail);
    return null;
  }
  if (file === null) {
    run.add(name, null, "no samples were given: drop their file here, too");
    return null;
  }
  if (record === null || record.samples === null) {
    run.add(name, "UNREACHABLE", "the record commits to no samples");
    return null;
  }
  try {
    const found = parseSamples(file.bytes, file.name);
    run.find(name, checkSamples(record, record.samples, found), `${found.samples.length} samples of ${found.components.join(", ")}`);
    return found;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    run.find(name, [finding("TAMPERED", file.name, error.message)], ""); // malformed evidence is wrong evidence
    return null;
  }
}

/** What the registry said of an id, and what follows from it (mrv_core/mrv/registries.py). */
class LookUp {
  constructor(
    private readonly mrvId: string,
    readonly registered: Registered | null,
    readonly failure: string | null,
  ) {}

  get match(): Registered["match"] {
    return this.registered?.match ?? null;
  }

  /** What else is registered under the id, for people. */
  get notes(): string {
    return (this.registered?.others ?? []).map(who).join("; ");
  }

  findings(commitment: Digest, isAnchored: boolean): Finding[] {
    if (this.failure !== null) {
      return [finding("UNREACHABLE", "registry", `the registry could not be asked for ${this.mrvId}: ${this.failure}`)];
    }
    return (this.registered?.others ?? []).flatMap((other) => {
      const verdict = verdictOf(other, commitment, this.match !== null, isAnchored);
      if (verdict === null) return [];
      const message = `another record is registered as ${this.mrvId}: ${who(other)}`;
      return [{ verdict, place: "registry", message, expected: `sha256:${other.hash}`, computed: commitment.text }];
    });
  }
}

async function lookUp({ named, chain }: RecordInput, mrvId: string, commitment: Digest): Promise<LookUp> {
  const { address, expected } = named;
  if (chain === null || address === null) return new LookUp(mrvId, null, null);
  try {
    return new LookUp(mrvId, await findRegistered({ chain, address, expected }, mrvId, commitment.bytes.toString("hex")), null);
  } catch (error) {
    if (!(error instanceof CannotCheck)) throw error;
    return new LookUp(mrvId, null, error.message);
  }
}

function verdictOf(other: Registration, commitment: Digest, isRegistered: boolean, isAnchored: boolean): Verdict | null {
  if (`sha256:${other.hash}` === commitment.text) return null;
  if (other.isExpected === true) return "TAMPERED";
  // Nobody was named whose word counts more.
  if (other.isExpected === null && !isRegistered) return isAnchored ? "DISAGREE" : "TAMPERED";
  return null;
}

function who({ submitter, hash, time, isExpected }: Registration): string {
  return `${submitter} registered sha256:${hash} at ${time}${isExpected === false ? ", who is not expected to" : ""}`;
}

/** A record has the id that its receipts name it by; no evidence of a network but the registry's has it. */
function idFindings(record: MrvRecord | MrvRecord01 | null, mrvId: string, isAnchored: boolean): Finding[] {
  if (record === null || record.mrv_id === mrvId || !isAnchored) return [];
  const message = `the receipts are said to be of ${mrvId}, and are of another record`;
  return [{ verdict: "TAMPERED", place: "mrv_id", message, expected: mrvId, computed: record.mrv_id }];
}

function batchFindings(own: RecordReceipts | null, commitment: Digest): Finding[] {
  if (own?.batch == null) return [];
  try {
    checkBatchProof(own.batch, commitment);
    return [];
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return [finding("TAMPERED", "batch", error.message)];
  }
}

function anchorStep(run: Steps, wrong: Finding[], receipts: number, mrvId: string, commitment: Digest, look: LookUp): void {
  const name = "What is anchored under its id is this record";
  const notes = look.notes === "" ? "" : `; ${look.notes}`;
  if (wrong.length > 0) run.find(name, wrong, "");
  else if (receipts > 0) run.add(name, "VALID", `${receipts} receipts for ${commitment.text}${notes}`);
  else if (look.registered === null) run.add(name, "UNREACHABLE", "no receipts were given, and no MRVRegistry contract was asked");
  else run.add(name, "NOT_FOUND", `no receipts of ${mrvId} were given, and the MRVRegistry contract that was asked has none${notes}`);
}

async function askedChecks(
  shown: NetworkCheck[], receipts: [string, Receipt][], anchored: Digest, { named, chain, trusted }: RecordInput,
  match: Registered["match"],
): Promise<NetworkCheck[]> {
  const checks: NetworkCheck[] = [];
  for (const [i, check] of shown.entries()) {
    // What the registry shows now is newer than a receipt that was written before a block had it.
    const isOutdated = match !== null && check.verdict === "PENDING" && check.network_id === `eip155:${chain!.chainId}`;
    if (!isOutdated) checks.push(await askChain(check, receipts[i]![1], anchored, trusted, named, chain));
  }
  if (match !== null) checks.push(registeredCheck(chain!, named, match));
  return checks;
}

function registeredCheck(chain: Chain, { address, expected }: Named, match: NonNullable<Registered["match"]>): NetworkCheck {
  const trusts = [
    `the node, which says what the registry ${address} on ${chainName(chain.chainId)} keeps; it had the code of MRVRegistry`,
  ];
  if (expected.length === 0) trusts.push(`${match.submitter}, whoever that is: no submitter was named whose registrations count`);
  return {
    network: "MRVRegistry",
    driver: "ethereum",
    network_id: `eip155:${chain.chainId}`,
    reference: match.transaction,
    verdict: match.isFinal ? "VALID" : "PENDING",
    detail: match.isFinal ? "the registry has this very hash under the id" : "it is registered, and its block is not final yet",
    block_hash: match.blockHash.slice(2),
    block_time: match.time,
    remaining: [],
    trusts,
    facts: { submitter: match.submitter },
    hearsay: null,
    asked: true,
  };
}

/** Refuse evidence that is of another id; only a registry's names one. */
function requireId(check: NetworkCheck, mrvId: string): NetworkCheck {
  const named = check.facts.mrv_id ?? mrvId;
  if (named === mrvId || check.verdict === "TAMPERED") return check;
  return { ...check, verdict: "TAMPERED", detail: `the record is registered as ${short(String(named))}, not as ${mrvId}` };
}

/** Combine everything; `isOpen` says that a registry, which may have the record, was not or could not be asked. */
function decide(run: Steps, checks: NetworkCheck[], isOpen: boolean): Verdict {
  const verdicts: Verdict[] = checks.map((check) => check.verdict);
  if (verdicts.length === 0 && isOpen) verdicts.push("UNREACHABLE");
  const unchecked = run.steps.filter((step) => step.number === 3 && step.verdict === "UNREACHABLE").map(() => "UNREACHABLE" as const);
  return worst([combine(verdicts, []), ...run.findings.map((each) => each.verdict), ...unchecked])!;
}

function summaryOf(run: Steps, checks: NetworkCheck[], verdict: Verdict, mrvId: string, { match }: LookUp): string {
  if (verdict === "VALID") {
    const names = checks.filter((check) => check.verdict === "VALID").map((check) => check.network);
    const whose = match?.isExpected === null ? ` It was registered by ${match.submitter}, whoever that is: nobody was named whose word counts.` : "";
    const isHearsay = checks.some((check) => check.verdict === "VALID" && check.hearsay !== null);
    const named = isHearsay ? " By whom is not shown: that is the word of a contract that nobody named." : "";
    return `The record is unchanged since it was anchored on ${names.join(", ")}.${whose}${named}`;
  }
  const gravest = worst(run.findings.map((each) => each.verdict));
  const first = run.findings.find((each) => each.verdict === gravest);
  if (first !== undefined) return `${first.place}: ${first.message}.`;
  if (checks.length === 0) return `${mrvId}: ${run.steps[3]!.detail}.`;
  const check = checks.find((each) => each.verdict === verdict || (each.verdict === "TAMPERED" && verdict === "DISAGREE"));
  return check === undefined ? `${run.steps[2]!.detail}.` : `${check.network}: ${check.detail}.`;
}
