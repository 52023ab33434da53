// SPDX-License-Identifier: MIT

/** A record's numbers, computed again: from one another, and from the samples (mrv_core/mrv/recompute.py). */

import { hex, same } from "verify-bundle";

import { rootOfLeaves } from "./merkle.ts";
import { checkRanks, checkShare } from "./ranks.ts";
import type { MrvRecord, Samples } from "./record.ts";
import { type Finding, disagree, finding } from "./report.ts";
import { type SampleFile, changedSections, energyUj, gapsOf, sectionSize } from "./samples.ts";
import { co2eMg, isEqual, sumOf, uwh } from "./units.ts";

const MAX_TOLERANCE_PERMILLE = 10;
const MAX_FINDINGS = 100;
const CLOCKS_MS = 2000; // both ends are rounded to whole seconds
const LATE_MS = 2000;
const LIMIT_PERMILLE = 1050n;

/** Compare the numbers of a record with one another: the total, the emissions, the times, the roots, the ranks. */
export function checkNumbers(record: MrvRecord): Finding[] {
  return [
    ...checkTotal(record),
    ...checkEmissions(record),
    ...checkTimes(record),
    ...(record.samples === null ? [] : checkSections(record.samples)),
    ...(record.job === null ? [] : checkShare(record, record.job)),
    ...(record.ranks === null ? [] : checkRanks(record, record.ranks)),
  ];
}

/** Compare a file of samples with the record: its lines first, then every number, then what hardware can do. */
export function checkSamples(record: MrvRecord, samples: Samples, file: SampleFile): Finding[] {
  const changed = changedSections(file, samples).slice(0, MAX_FINDINGS);
  if (changed.length > 0) {
    return changed.map(([first, last]) => {
      const where = first === last ? `line ${first}` : `lines ${first} to ${last}`;
      return finding("TAMPERED", `samples ${where}`, "not what the record commits to");
    });
  }
  const stated = [samples.size, file.leaves.length];
  const size = stated[0] === stated[1] ? [] : [disagree("samples.size", "the samples are not so many lines", ...(stated as [number, number]))];
  return [...size, ...checkEnergies(record, file), ...checkEpochs(record, file), ...checkGaps(record, file), ...checkPowers(record, file)];
}

function checkTotal({ energy }: MrvRecord): Finding[] {
  const total = sumOf(energy.components.map((part) => part.energy_uwh));
  if (isEqual(energy.total_uwh, total)) return [];
  return [disagree("energy.total_uwh", "the total is not the sum of the components", energy.total_uwh, total)];
}

function checkEmissions(record: MrvRecord): Finding[] {
  const { co2e_mg: stated, factor, pue_permille: pue } = record.emissions;
  const energy = record.energy.total_uwh;
  const computed = factor !== null && energy !== null && pue !== null ? co2eMg(energy, factor.value, pue) : null;
  // Without them the emissions of a job are the sum of its ranks', of whatever factors: `checkRanks` adds them up.
  if (record.ranks !== null && computed === null) return [];
  const rounded = BigInt(record.ranks?.entries.length ?? 0); // each rank's were, by themselves
  const both = stated !== null && computed !== null;
  const difference = both ? BigInt(stated) - computed : 0n;
  const fits = both ? difference <= rounded && -difference <= rounded : stated === computed;
  return fits ? [] : [disagree("emissions.co2e_mg", "the emissions are not energy times PUE times factor", stated, computed)];
}

function checkTimes({ timestamps, epochs }: MrvRecord): Finding[] {
  const found: Finding[] = [];
  const between = ((microseconds(timestamps.end_time) - microseconds(timestamps.start_time)) / 1e6) * 1000;
  if (Math.abs(between - timestamps.duration_ms) > CLOCKS_MS) {
    found.push(disagree("timestamps.duration_ms", "end less start is not the duration", timestamps.duration_ms, Math.round(between)));
  }
  let last = 0;
  epochs.forEach(({ epoch, start_ms: start, end_ms: end }, i) => {
    if (!(last <= start && start <= end && end <= timestamps.duration_ms)) {
      const message = `epoch ${epoch} is outside the run, or overlaps the one before it`;
      found.push(disagree(`epochs.${i}`, message, `${start} to ${end} ms`, `after ${last} ms`));
    }
    last = end;
  });
  return found;
}

/** Microseconds since 1970 of a time in its one written form. */
function microseconds(time: string): number {
  const fraction = /\.(\d{6})Z$/.exec(time)?.[1] ?? "0";
  return Date.parse(`${time.slice(0, 19)}Z`) * 1000 + Number(fraction);
}

function checkSections(samples: Samples): Finding[] {
  const { size, section_size: each, sections, root } = samples;
  const computed = rootOfLeaves(sections.map(({ bytes }) => bytes));
  const count = BigInt(size) / BigInt(each) + BigInt(size % each > 0);
  const fits = sections.length > 0 && same(computed, root.bytes) && BigInt(sections.length) === count && each === sectionSize(size);
  const message = "the sections do not make the root of the samples";
  return fits ? [] : [disagree("samples.sections", message, root.text, `sha256:${hex(computed)}`)];
}

function agree(record: MrvRecord, stated: number | null, computed: bigint | null): boolean {
  if (stated === null || computed === null) return stated === computed;
  const tolerance = BigInt(Math.min(record.measurement.tolerance_permille, MAX_TOLERANCE_PERMILLE));
  const [a, b] = [BigInt(stated), computed];
  return (a > b ? a - b : b - a) * 1000n <= tolerance * (a > b ? a : b);
}

const uwhOf = (energy: bigint | null) => (energy === null ? null : uwh(energy));

function checkEnergies(record: MrvRecord, file: SampleFile): Finding[] {
  const found: Finding[] = [];
  const parts = record.energy.components;
  for (const component of file.components) {
    const stated = parts.find((part) => part.component === component)?.energy_uwh ?? null;
    const computed = uwhOf(energyUj(file, component));
    const place = `energy.components.${component}`;
    if (!agree(record, stated, computed)) found.push(disagree(place, `the samples of ${component} make another energy`, stated, computed));
  }
  for (const { component, energy_uwh: stated } of parts) {
    if (stated === null || file.components.includes(component)) continue;
    found.push(disagree(`energy.components.${component}`, `there are no samples of ${component}`, stated, null));
  }
  return found;
}

function checkEpochs(record: MrvRecord, file: SampleFile): Finding[] {
  return record.epochs.flatMap(({ epoch, start_ms: start, end_ms: end, energy_uwh: stated }, i) => {
    const computed = uwhOf(sumOf(file.components.map((component) => energyUj(file, component, start, end))));
    if (agree(record, stated, computed)) return [];
    return [disagree(`epochs.${i}.energy_uwh`, `the samples make another energy of epoch ${epoch}`, stated, computed)];
  });
}

function checkGaps(record: MrvRecord, file: SampleFile): Finding[] {
  const stated = new Set(record.measurement.gaps.map((gap) => `${gap.component} ${gap.start_ms} ${gap.end_ms}`));
  const hidden = gapsOf(file, record.timestamps.duration_ms).filter(
    ([component, start, end]) => !stated.has(`${component} ${start} ${end}`),
  );
  return hidden.slice(0, MAX_FINDINGS).map(([component, start, end]) => {
    const message = `nothing of ${component ?? "anything"} was measured from ${start} to ${end} ms, which the record hides`;
    return disagree("measurement.gaps", message, "no gap", `${end - start} ms`);
  });
}

function checkPowers(record: MrvRecord, file: SampleFile): Finding[] {
  const found: Finding[] = [];
  const last = file.samples.at(-1)?.end ?? 0;
  const duration = record.timestamps.duration_ms;
  if (last > duration + LATE_MS) {
    const place = `samples line ${file.leaves.length}`;
    found.push(disagree(place, "samples were taken after the end of the run", duration, last));
  }
  file.components.forEach((component, index) => {
    const limit = record.energy.components.find((part) => part.component === component)?.limit_mw ?? null;
    if (limit === null) return;
    const most = (BigInt(limit) * LIMIT_PERMILLE) / 1000n;
    const over = file.samples.flatMap(({ powers }, i) => (BigInt(powers[index] ?? 0) > most ? [i] : []));
    for (const i of over.slice(0, MAX_FINDINGS)) {
      const power = file.samples[i]!.powers[index];
      found.push(disagree(`samples line ${i + 2}`, `${component} cannot draw so much`, `at most ${limit} mW`, `${power} mW`));
    }
  });
  return found;
}
