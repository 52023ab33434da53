// SPDX-License-Identifier: MIT

/** The MRV record, schema 1.0 (docs/spec/mrv-record.md): its shape, and the hash of its bytes. */

import {
  type Digest, type Json, type Reader, anything, canonicalBytes, constant, demand, digest, integer, list, mapping, oneOf,
  orNull, parseJson, record, same, sha256, text, time,
} from "verify-bundle";

/** Largest record that is read, in bytes. */
export const MAX_RECORD_BYTES = 8 * 1024 * 1024;
const MAX_RANKS = 20_000;

export type Component = "cpu" | "gpu" | "ram";
export type Status = "completed" | "interrupted";
export interface Gap {
  component: Component | null;
  start_ms: number;
  end_ms: number;
  reason: string;
}
export interface ComponentEnergy {
  component: Component;
  energy_uwh: number | null;
  method: string | null;
  source: string;
  limit_mw: number | null;
}
export interface Epoch {
  epoch: number;
  start_ms: number;
  end_ms: number;
  energy_uwh: number | null;
  metrics: Map<string, Json>;
}
export interface Samples {
  format: string;
  size: number;
  root: Digest;
  section_size: number;
  sections: Digest[];
}
export interface RankPlace {
  mrv_id: string;
  rank: number;
  world_size: number;
  local_rank: number;
  host: number;
}
export interface RankEntry {
  rank: number;
  local_rank: number;
  host: number;
  mrv_id: string;
  hash: Digest;
  status: Status;
  start_ms: number;
  duration_ms: number;
  energy_uwh: number | null;
  co2e_mg: number | null;
}
export interface Ranks {
  world_size: number;
  missing: number[];
  root: Digest;
  entries: RankEntry[];
}
/** A record of schema 1.0. Integers in base units: µWh, mg CO2e, ms, mW, thousandths. */
export interface MrvRecord {
  schema_version: "1.0";
  mrv_id: string;
  status: Status;
  interruption: string | null;
  experiment: { experiment_name: string; model_name: string; dataset_name: string };
  timestamps: { start_time: string; end_time: string; duration_ms: number };
  measurement: {
    measurement_tool: string;
    scope: "machine" | "process";
    tolerance_permille: number;
    gaps: Gap[];
    concurrent: string[];
  };
  energy: { total_uwh: number | null; components: ComponentEnergy[] };
  emissions: { co2e_mg: number | null; pue_permille: number | null; factor: { value: number } | null };
  epochs: Epoch[];
  metrics: Map<string, Json>;
  samples: Samples | null;
  job: RankPlace | null;
  ranks: Ranks | null;
}

const quantity = integer(0, Number.MAX_SAFE_INTEGER);
const positive = integer(1, Number.MAX_SAFE_INTEGER);
const rankNumber = integer(0, MAX_RANKS - 1);
const worldSize = integer(1, MAX_RANKS);
const component = oneOf("cpu", "gpu", "ram");
const status = oneOf("completed", "interrupted");
const values = mapping(anything);

/** Text of at most 1000 characters, counted as Unicode does. */
export const name: Reader<string> = (value, what) => {
  const found = text(value, what);
  demand(found.length <= 1000 || [...found].length <= 1000, `${what}: more than 1000 characters`);
  return found;
};
/** An id that the registry contract takes. */
export const mrvId: Reader<string> = (value, what) => {
  const found = text(value, what);
  demand(isMrvId(found), `${what}: not 1 to 128 printable ASCII characters without spaces`);
  return found;
};
const shape =
  <T>(fields: Record<string, Reader<unknown>>): Reader<T> =>
  (value, what) =>
    record<T>(value, what, fields);

const gap = shape<Gap>({ component: orNull(component), start_ms: quantity, end_ms: quantity, reason: name });
const part = shape<ComponentEnergy>({
  component, energy_uwh: orNull(quantity), method: orNull(oneOf("measured", "modelled", "constant")), source: name,
  limit_mw: orNull(quantity),
});
const factor = shape<{ value: number }>({
  value: quantity, unit: constant("mg CO2e/kWh"), source: name, region: orNull(name), period: orNull(name), stated_at: time,
});
const epoch = shape<Epoch>({
  epoch: quantity, start_ms: quantity, end_ms: quantity, energy_uwh: orNull(quantity), metrics: values,
});
const samples = shape<Samples>({
  format: constant("mrv-samples/1"), size: positive, root: digest, section_size: positive, sections: list(digest),
});
const place = shape<RankPlace>({
  mrv_id: mrvId, rank: rankNumber, world_size: worldSize, local_rank: rankNumber, host: rankNumber,
});
const entry = shape<RankEntry>({
  rank: rankNumber, local_rank: rankNumber, host: rankNumber, mrv_id: mrvId, hash: digest, status, start_ms: quantity,
  duration_ms: quantity, energy_uwh: orNull(quantity), co2e_mg: orNull(quantity),
});
const ranks = shape<Ranks>({ world_size: worldSize, missing: list(rankNumber), root: digest, entries: list(entry) });

const fields: Record<string, Reader<unknown>> = {
  schema_version: constant("1.0"),
  mrv_id: mrvId,
  status,
  interruption: orNull(name),
  experiment: shape({ experiment_name: name, model_name: name, dataset_name: name }),
  training: shape({ epochs: orNull(quantity), batch_size: orNull(positive), framework: orNull(name) }),
  hardware: shape({
    cpu_type: orNull(name), cpu_cores: orNull(positive), gpu_types: list(name), ram_bytes: orNull(quantity),
  }),
  timestamps: shape({ start_time: time, end_time: time, duration_ms: quantity }),
  measurement: shape({
    measurement_tool: name, tool_version: orNull(name), scope: oneOf("machine", "process"), interval_ms: positive,
    tolerance_permille: integer(0, 1000), settings: values, gaps: list(gap), concurrent: list(mrvId),
  }),
  energy: shape({ total_uwh: orNull(quantity), components: list(part) }),
  emissions: shape({
    co2e_mg: orNull(quantity), pue_permille: orNull(integer(1000, 100_000)), factor: orNull(factor),
  }),
  epochs: list(epoch),
  metrics: values,
  samples: orNull(samples),
  job: orNull(place),
  ranks: orNull(ranks),
  environment: values,
  provenance: orNull(shape({ run_id: name, root: digest })),
  supersedes: orNull(shape({ mrv_id: mrvId, hash: digest })),
};

/** Tell whether a text is an id that the registry contract takes. */
export function isMrvId(id: string): boolean {
  return /^[!-~]{1,128}$/.test(id);
}

/** Return the SHA-256 of bytes as a digest. */
export function hashOf(bytes: Uint8Array): Digest {
  const value = sha256(bytes);
  return { algorithm: "sha256", bytes: value, text: `sha256:${value.toString("hex")}` };
}

/**
 * Read a record of schema 1.0, whose bytes must be its canonical form.
 *
 * @throws Wrong: not such a record; the message names the field.
 */
export function parseRecord(bytes: Uint8Array, what: string): MrvRecord {
  const value = parseJson(bytes, what, MAX_RECORD_BYTES);
  const found = record<MrvRecord>(value, what, fields);
  demand(same(canonicalBytes(value), bytes), `${what}: not in canonical form (RFC 8785): saved by another program`);
  const { energy, ranks: job } = found;
  for (const { component: which, energy_uwh: used, method } of energy.components) {
    demand((used === null) === (method === null), `${what}: an energy of ${which} has a method, and only an energy has`);
  }
  const names = energy.components.map((each) => each.component);
  demand(new Set(names).size === names.length, `${what}: a component is there twice`);
  const ended = (found.status === "completed") === (found.interruption === null);
  demand(ended, `${what}: status and interruption contradict each other`);
  demand(job !== null || found.emissions.pue_permille !== null, `${what}: a PUE is not known in the record of a job only`);
  demand(job === null || job.entries.length > 0, `${what}: a job without ranks`);
  const summed = found.job === null && found.samples === null && found.epochs.length === 0 && found.metrics.size === 0;
  demand(job === null || summed, `${what}: epochs, metrics and samples of a job are in the records of its ranks`);
  return found;
}
