// SPDX-License-Identifier: MIT

/** Whether a job's record can be the sum of its ranks, and a rank's its share of one (mrv_core/mrv/rank_numbers.py). */

import { hex, leafHash } from "verify-bundle";

import { rootOfLeaves } from "./merkle.ts";
import type { Component, MrvRecord, RankEntry, RankPlace, Ranks } from "./record.ts";
import { type Finding, disagree } from "./report.ts";
import { isEqual, sumOf } from "./units.ts";

const rankId = (id: string, rank: number) => `${id}.rank-${rank}`;
const endOf = (entry: RankEntry) => entry.start_ms + entry.duration_ms;

/** Check that a rank has the id of its place, and counts nothing that its host's local rank 0 counts. */
export function checkShare(record: MrvRecord, place: RankPlace): Finding[] {
  const found: Finding[] = [];
  const own = rankId(place.mrv_id, place.rank);
  if (record.mrv_id !== own || Math.max(place.rank, place.local_rank) >= place.world_size) {
    found.push(disagree("job", "no rank of the job has this id", own, record.mrv_id));
  }
  for (const { component, energy_uwh: energy } of record.energy.components) {
    const counts = place.local_rank === 0 || (record.measurement.scope === "process" && component !== "gpu");
    if (energy !== null && !counts) found.push(countedTwice(`energy.components.${component}`, place.local_rank, energy));
  }
  return found;
}

/** Check that a job's record has each rank once, or says that it is missing, and is the sum of them. */
export function checkRanks(record: MrvRecord, job: Ranks): Finding[] {
  return [...eachOnce(job), ...job.entries.flatMap((entry) => checkEntry(record, entry)), ...checkSums(record, job), ...checkGaps(record, job)];
}

function eachOnce({ entries, missing, world_size: size }: Ranks): Finding[] {
  const found: Finding[] = [];
  const ranks = entries.map((entry) => entry.rank);
  const sorted = [...ranks].sort((a, b) => a - b);
  const all = [...ranks, ...missing].sort((a, b) => a - b);
  const complete = all.length === size && all.every((rank, i) => rank === i);
  if (!complete || sorted.some((rank, i) => rank !== ranks[i])) {
    found.push(disagree("ranks", "a rank is there twice, or neither there nor missing", size, ranks.length));
  }
  if (missing.some((rank, i) => i > 0 && rank < missing[i - 1]!)) {
    found.push(disagree("ranks.missing", "not in the order of the ranks", "ascending", missing.slice(0, 20)));
  }
  const places = new Set(entries.map((entry) => `${entry.host} ${entry.local_rank}`));
  if (places.size < entries.length) {
    found.push(disagree("ranks", "two ranks have one local rank on one host", entries.length, places.size));
  }
  return found;
}

function checkEntry(record: MrvRecord, entry: RankEntry): Finding[] {
  const found: Finding[] = [];
  const [place, own] = [`rank ${entry.rank}`, rankId(record.mrv_id, entry.rank)];
  if (entry.mrv_id !== own) found.push(disagree(place, "its id is not of this job", own, entry.mrv_id));
  if (record.measurement.scope === "machine" && entry.local_rank !== 0 && entry.energy_uwh !== null) {
    found.push(countedTwice(place, entry.local_rank, entry.energy_uwh));
  }
  return found;
}

function countedTwice(place: string, localRank: number, energy: number): Finding {
  return disagree(place, `local rank ${localRank} counts what local rank 0 of the host counts`, energy, null);
}

function checkSums(record: MrvRecord, { entries, missing, root }: Ranks): Finding[] {
  const computedRoot = `sha256:${hex(rootOfLeaves(entries.map((entry) => leafHash(entry.hash.bytes))))}`;
  const completed = missing.length === 0 && entries.every((entry) => entry.status === "completed");
  const counting = entries.filter((entry) => entry.energy_uwh !== null);
  const known = counting.every((entry) => entry.co2e_mg !== null);
  const emissions = known ? sumOf(counting.map((entry) => entry.co2e_mg)) : null;
  const energy = sumOf(entries.map((entry) => entry.energy_uwh));
  const least = entries.reduce((first, entry) => Math.min(first, entry.start_ms), Infinity);
  const duration = entries.reduce((last, entry) => Math.max(last, endOf(entry)), 0);
  const status = completed ? "completed" : "interrupted";
  const rows: [string, unknown, unknown, boolean][] = [
    ["ranks.root", root.text, computedRoot, root.text === computedRoot],
    ["ranks.entries", least, 0, least === 0],
    ["status", record.status, status, record.status === status],
    ["timestamps.duration_ms", record.timestamps.duration_ms, duration, record.timestamps.duration_ms === duration],
    ["energy.total_uwh", record.energy.total_uwh, energy, isEqual(record.energy.total_uwh, energy)],
    ["emissions.co2e_mg", record.emissions.co2e_mg, emissions, isEqual(record.emissions.co2e_mg, emissions)],
  ];
  return rows.flatMap(([place, stated, computed, fits]) => (fits ? [] : [disagree(place, "not what the ranks make it", stated, computed)]));
}

function checkGaps(record: MrvRecord, job: Ranks): Finding[] {
  const gpu = record.energy.components.some(({ component, energy_uwh: energy }) => component === "gpu" && energy !== null);
  const stated = new Set(record.measurement.gaps.map((gap) => `${gap.component} ${gap.start_ms} ${gap.end_ms}`));
  return uncounted(job.entries, record.measurement.scope, gpu).flatMap(([component, start, end, reason]) => {
    if (start >= end || stated.has(`${component} ${start} ${end}`)) return [];
    return [disagree("measurement.gaps", reason, "no gap", `${start} to ${end} ms`)];
  });
}

type Uncounted = [Component | null, number, number, string];

/** The times in which a rank ran and what it used was counted by nobody; some are empty. */
function uncounted(entries: RankEntry[], scope: MrvRecord["measurement"]["scope"], gpu: boolean): Uncounted[] {
  const found: Uncounted[] = [];
  if (scope === "process") {
    for (const entry of entries) {
      if (entry.energy_uwh === null) found.push([null, entry.start_ms, endOf(entry), `rank ${entry.rank} measured nothing`]);
    }
  }
  if (scope !== "machine" && !gpu) return found;
  const hosts = new Map<number, RankEntry[]>();
  for (const entry of entries) {
    if (!hosts.has(entry.host)) hosts.set(entry.host, []);
    hosts.get(entry.host)!.push(entry);
  }
  for (const [host, ranks] of hosts) found.push(...uncountedOn(host, ranks, scope === "machine" ? null : "gpu"));
  return found;
}

function uncountedOn(host: number, ranks: RankEntry[], component: Component | null): Uncounted[] {
  const start = ranks.reduce((first, rank) => Math.min(first, rank.start_ms), Infinity);
  const end = ranks.reduce((last, rank) => Math.max(last, endOf(rank)), 0);
  const first = ranks.find((rank) => rank.local_rank === 0);
  if (first === undefined) return [[component, start, end, `host ${host}: there is no record of its local rank 0`]];
  if (first.energy_uwh === null) return [[component, start, end, `host ${host}: its local rank 0 measured nothing`]];
  return [
    [component, start, first.start_ms, `host ${host}: its local rank 0 had not started`],
    [component, endOf(first), end, `host ${host}: its local rank 0 had ended`],
  ];
}
