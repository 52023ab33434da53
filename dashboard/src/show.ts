// SPDX-License-Identifier: MIT

/** The parts of the page that show what a verification found out. */

import { type Json, type Step, type Verdict, parseJson } from "verify-bundle";

import type { BundleReport } from "./bundle.ts";
import { byId, element, scrolling, visible } from "./dom.ts";
import { bundlePath, recordPath } from "./paths.ts";
import { energyPlot, epochPlot, grams, kwh, powerPlot, seconds } from "./plots.ts";
import type { Registered } from "./registry.ts";
import { type Finding, type NetworkCheck, WORDS } from "./report.ts";
import type { RecordReport } from "./verify.ts";

/** A verdict, or what the page says where there is none. */
export type Shown = Verdict | "REGISTERED" | "UNREADABLE" | "NOT_ASKED_FOR" | "NOT_HERE" | "BUSY" | "NONE";

const LOOKS: Record<Shown, [icon: string, words: string]> = {
  VALID: ["\u2713", WORDS.VALID],
  TAMPERED: ["\u2717", WORDS.TAMPERED],
  DISAGREE: ["\u2260", WORDS.DISAGREE],
  NOT_FOUND: ["?", WORDS.NOT_FOUND],
  PENDING: ["\u29d6", WORDS.PENDING],
  UNREACHABLE: ["\u26a0", WORDS.UNREACHABLE],
  REGISTERED: ["\u2139", "REGISTERED, NOT COMPARED"],
  UNREADABLE: ["\u2298", "CANNOT BE READ"],
  NOT_ASKED_FOR: ["\u2298", "NOT WHAT WAS ASKED FOR"],
  NOT_HERE: ["\u2139", "NO COPY HERE"],
  BUSY: ["\u2026", "CHECKING"],
  NONE: ["", "Nothing to verify yet"],
};
const MOST_SHOWN = 200_000; // characters of JSON: more would only make the browser slow
const MOST_ROWS = 200;

/** Show the verdict with its icon and its words. */
export function showVerdict(verdict: Shown, summary: string): void {
  const [icon, words] = LOOKS[verdict];
  byId("verdict").className = verdict.toLowerCase();
  byId("icon").textContent = icon;
  byId("word").textContent = words;
  byId("summary").textContent = visible(summary);
}

/** Everything about a record, below the verdict. */
export function recordSections(report: RecordReport, bytes: Uint8Array, name: string, assumed: string[]): HTMLElement[] {
  const { record, samples, receipts } = report;
  const current = record?.schema_version === "1.0" ? record : null;
  const plots: HTMLElement[] = [];
  if (current !== null && current.energy.components.length > 0) plots.push(energyPlot(current));
  if (current !== null && current.epochs.length > 0) plots.push(epochPlot(current));
  // Samples that are not the record's would be a picture of something else.
  const isOfRecord = samples !== null && report.steps[2]!.verdict === "VALID";
  if (current !== null && isOfRecord && samples.samples.length > 0) plots.push(powerPlot(samples, current.timestamps.duration_ms));
  return [
    stepsSection(report.steps, report.findings), networksSection(report.networks), trustSection(report.networks, assumed),
    section("The record", facts(recordFacts(report)), recordPath(report.hash.text, current?.samples ?? null, current?.ranks ?? null, receipts)),
    ...(plots.length > 0 ? [section("Energy and power", ...plots)] : []),
    ...(report.registered === null ? [] : [registrySection(report.mrvId, report.registered)]),
    jsonSection(bytes, name),
  ];
}

/** Everything about a bundle, below the verdict. */
export function bundleSections(report: BundleReport, bytes: Uint8Array, name: string, assumed: string[]): HTMLElement[] {
  const { run_id: run, phase, root, anchored, leaf } = report.facts;
  const rows: [string, string | null | undefined][] = [
    ["Run", run], ["Phase", phase], ["Root", root], ["Anchored", anchored], ["Leaf", leaf?.path], ["Digest of the leaf", leaf?.digest],
  ];
  const about = report.value === null ? [] : [section("The bundle", facts(rows), bundlePath(report.value))];
  return [
    stepsSection(report.steps, report.findings), networksSection(report.networks), trustSection(report.networks, assumed), ...about,
    jsonSection(bytes, name),
  ];
}

/** What a registry has under an id. */
export function registrySection(mrvId: string, { match, others, submitters }: Registered): HTMLElement {
  const all = [...(match === null ? [] : [match]), ...others];
  const rows = all.map(({ submitter, hash, time, isExpected }) => [
    submitter, `sha256:${hash}`, time, isExpected === null ? "nobody was named" : isExpected ? "yes" : "no",
  ]);
  const count = `Accounts that registered ${mrvId}: ${submitters}.`;
  return section("In the MRVRegistry contract", element("p", {}, count), table(["Submitter", "Hash", "Time", "Counts"], rows));
}

function recordFacts({ record, hash, mrvId, networks }: RecordReport): [string, string | null | undefined][] {
  const proven = networks.filter((check) => check.verdict === "VALID" && check.block_time !== null).map((check) => check.block_time!).sort();
  const submitters = networks.filter((check) => check.verdict === "VALID").map(submitterOf);
  const rows: [string, string | null | undefined][] = [
    ["Id", mrvId], ["SHA-256", hash.text], ["Existed no later than", proven[0] ?? "no network attests a time"],
    ["Submitter", submitters.filter((each) => each !== null).join(", ") || null],
  ];
  if (record === null) return rows;
  if (record.schema_version === "0.1") {
    const { energy_kwh: energy, co2_kg: mass } = record.energy_emissions;
    return [
      ...rows, ["Schema", "0.1: its numbers cannot be computed again"], ["Experiment", record.experiment.experiment_name],
      ["Energy", energy === null ? "not known" : `${energy} kWh`], ["CO2e", mass === null ? "not known" : `${mass} kg`],
      ["Ended, it claims", record.timestamps.end_time],
    ];
  }
  const { experiment, timestamps, energy, emissions, measurement } = record;
  return [
    ...rows, ["Experiment", `${experiment.experiment_name}: ${experiment.model_name} on ${experiment.dataset_name}`],
    ["Training", record.status === "completed" ? "completed" : `interrupted: ${record.interruption}`],
    ["Ran, it claims", `${timestamps.start_time} to ${timestamps.end_time}, ${seconds(timestamps.duration_ms)}`],
    ["Energy", energy.total_uwh === null ? "not known" : kwh(energy.total_uwh)],
    ["CO2e", emissions.co2e_mg === null ? "not known" : grams(emissions.co2e_mg)],
    ["Measured", `${measurement.measurement_tool}, scope ${measurement.scope}, ${measurement.gaps.length} gaps`],
    ["Counted with", measurement.concurrent.length === 0 ? null : measurement.concurrent.join(", ")],
  ];
}

function stepsSection(steps: Step[], findings: Finding[]): HTMLElement {
  const rows = steps.map(({ name, verdict, detail }) => [tag(verdict), name, detail]);
  const wrong = findings.slice(0, MOST_ROWS).map(({ verdict, place, message, expected, computed }) => [
    tag(verdict), place, message, expected ?? "", computed ?? "",
  ]);
  const list = wrong.length === 0 ? [] : [element("h3", {}, "What is wrong"), table(["Result", "Where", "What", "Stated", "Computed"], wrong)];
  return section("What was checked", table(["Result", "Step", "Detail"], rows), ...list);
}

function networksSection(networks: NetworkCheck[]): HTMLElement {
  const items = networks.map((check) =>
    element(
      "li", {}, tag(check.verdict), ` ${check.network} (${check.network_id}): ${check.detail}`,
      facts([
        ["Reference", check.reference], ["Block", check.block_hash], ["Time of the block", check.block_time],
        ["Submitter", submitterOf(check)],
        ["Remains open", check.remaining.join("; ") || null],
      ]),
    ),
  );
  return section("Networks", items.length > 0 ? element("ul", {}, ...items) : element("p", {}, "No receipt, and no registration that counts."));
}

/** Who anchored it, as far as more than the word of a contract that nobody named says so. */
function submitterOf({ facts: { submitter }, hearsay }: NetworkCheck): string | null {
  return submitter === undefined || hearsay !== null ? null : String(submitter);
}

function trustSection(networks: NetworkCheck[], assumed: string[]): HTMLElement {
  const hearsay = networks.flatMap((check) => (check.hearsay === null ? [] : [`for who anchored it, nobody: it is the word of ${check.hearsay}`]));
  const trusted = [...assumed, ...networks.flatMap((check) => check.trusts), ...hearsay];
  const own = "this page's own code, and the browser that runs it";
  return section("What is trusted", element("ul", {}, ...[own, ...new Set(trusted)].map((sentence) => element("li", {}, sentence))));
}

function jsonSection(bytes: Uint8Array, name: string): HTMLElement {
  let text: string;
  try {
    text = pretty(parseJson(bytes, name), "");
  } catch {
    text = new TextDecoder().decode(bytes.subarray(0, MOST_SHOWN)); // as it is: the steps say what is wrong with it
  }
  const cut = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}\n\u2026` : text;
  const note = text.length > MOST_SHOWN ? [element("p", { class: "note" }, `The first ${MOST_SHOWN} characters of ${text.length}.`)] : [];
  return section("The file", ...note, element("pre", { tabindex: "0", role: "region", "aria-label": "JSON of the file" }, cut));
}

function pretty(value: Json, indent: string): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    return value.length === 0 ? "[]" : `[\n${value.map((each) => `${inner}${pretty(each, inner)}`).join(",\n")}\n${indent}]`;
  }
  if (!(value instanceof Map)) return JSON.stringify(value);
  const lines = [...value].map(([name, each]) => `${inner}${JSON.stringify(name)}: ${pretty(each, inner)}`);
  return lines.length === 0 ? "{}" : `{\n${lines.join(",\n")}\n${indent}}`;
}

function tag(verdict: Verdict | null): HTMLElement {
  if (verdict === null) return element("span", { class: "note" }, "\u2013 not done");
  const [icon, words] = LOOKS[verdict];
  return element("span", { class: `tag ${verdict.toLowerCase()}` }, `${icon} ${words}`);
}

function section(title: string, ...content: HTMLElement[]): HTMLElement {
  return element("section", {}, element("h2", {}, title), ...content);
}

function facts(rows: [string, string | null | undefined][]): HTMLElement {
  const known = rows.filter(([, value]) => value !== null && value !== undefined);
  return element("dl", {}, ...known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value!)]));
}

function table(names: string[], rows: (string | HTMLElement)[][]): HTMLElement {
  const head = element("thead", {}, element("tr", {}, ...names.map((name) => element("th", { scope: "col" }, name))));
  const body = element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))));
  return scrolling(names.join(", "), element("table", {}, head, body));
}
