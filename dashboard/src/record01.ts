// SPDX-License-Identifier: MIT

/**
 * The MRV record, schema 0.1. Its hash is the SHA-256 of what Python's `json.dumps(data, sort_keys=True,
 * separators=(",", ":"))` makes of it, whatever the file's white space, so that 32 and 32.0 are two hashes.
 */

import {
  type Digest, type Json, JsonReader, type Reader, constant, demand, orNull, parseJson, record, text, utf8,
} from "verify-bundle";

import { MAX_RECORD_BYTES, hashOf } from "./record.ts";

/** A number that was written with a fraction or an exponent: a float to Python. */
class Double {
  constructor(readonly value: number) {}
}

class PythonReader extends JsonReader {
  override numeric(value: number, isInteger: boolean): Json {
    // Python has no integer -0, and a float that is.
    return isInteger ? value + 0 : (new Double(value) as unknown as Json);
  }
}

/** A record of schema 0.1, as far as it is shown. */
export interface MrvRecord01 {
  schema_version: "0.1";
  mrv_id: string;
  experiment: { experiment_name: string };
  energy_emissions: { energy_kwh: number | null; co2_kg: number | null };
  timestamps: { end_time: string };
}

const number: Reader<number> = (value, what) => {
  const found = (value as unknown) instanceof Double ? (value as unknown as Double).value : value;
  const fits = typeof found === "number" && found >= 0 && found <= Number.MAX_SAFE_INTEGER;
  demand(fits, `${what}: not a number from 0 to 2^53-1`);
  return found as number;
};
const wholeNumber: Reader<number> = (value, what) => {
  demand(typeof value === "number", `${what}: not an integer`);
  return value;
};
const gpus: Reader<number> = (value, what) => {
  const found = wholeNumber(value, what);
  demand(found >= 0 && found <= 2 ** 20, `${what}: not a number of GPUs`);
  return found;
};
/** A time with its zone, in the extended form of ISO 8601. */
const zonedTime: Reader<string> = (value, what) => {
  const found = text(value, what);
  const match = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?:Z|[+-](\d\d)(?::?(\d\d))?)$/.exec(found);
  demand(match !== null, `${what}: not a time with its zone, for instance 2026-01-11T08:00:00Z`);
  const [year, month, day, hour, minute, second, zoneHour, zoneMinute] = match.slice(1).map((part) => Number(part ?? 0));
  const date = new Date(Date.UTC(2000, month! - 1, day));
  date.setUTCFullYear(year!, month! - 1, day);
  const isDate = year! >= 1 && date.getUTCMonth() === month! - 1 && date.getUTCDate() === day;
  const isTime = hour! < 24 && minute! < 60 && second! < 60 && zoneHour! < 24 && zoneMinute! < 60;
  demand(isDate && isTime, `${what}: not a time with its zone, for instance 2026-01-11T08:00:00Z`);
  return found;
};
const shape = (required: Record<string, Reader<unknown>>, optional = {}): Reader<unknown> => (value, what) =>
  record(value, what, required, optional);

const fields: Record<string, Reader<unknown>> = {
  schema_version: constant("0.1"),
  mrv_id: text,
  experiment: shape({ experiment_name: text, model_name: text, dataset_name: text }),
  training: shape({ epochs: orNull(wholeNumber), batch_size: orNull(wholeNumber), framework: orNull(text) }),
  hardware: shape(
    { gpu_type: text, num_gpus: gpus, cpu_type: text, ram_gb: number },
    { cpu_cores: orNull(wholeNumber) },
  ),
  energy_emissions: shape({
    measurement_tool: text, energy_kwh: orNull(number), co2_kg: orNull(number), duration_seconds: number,
  }),
  timestamps: shape({ start_time: zonedTime, end_time: zonedTime }),
};

/**
 * Read a record of schema 0.1, and return it with its hash.
 *
 * @throws Wrong: not such a record; the message names the field.
 */
export function parseRecord01(bytes: Uint8Array, what: string): [MrvRecord01, Digest] {
  const value = parseJson(bytes, what, MAX_RECORD_BYTES, PythonReader);
  const found = record<MrvRecord01>(value, what, fields);
  return [found, hashOf(utf8(dumped(value)))];
}

/** What Python's `json.dumps` writes; the names of this schema are ASCII, so that their order is the same everywhere. */
function dumped(value: unknown): string {
  if (value instanceof Double) return pythonFloat(value.value);
  if (value instanceof Map) {
    const names = [...value.keys()].sort() as string[];
    return `{${names.map((name) => `${asciiText(name)}:${dumped(value.get(name))}`).join(",")}}`;
  }
  return typeof value === "string" ? asciiText(value) : JSON.stringify(value);
}

function asciiText(value: string): string {
  const escape = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, escape);
}

/** Python's `repr` of a float: the same digits as ECMAScript's, and an exponent below 1e-4 and from 1e16 on. */
export function pythonFloat(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 16) {
    const plain = String(value);
    return plain.includes(".") ? plain : `${plain}.0`;
  }
  return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}
