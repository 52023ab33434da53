// SPDX-License-Identifier: MIT

/** What kind of file a visitor gave, told by its content and not by its name. */

import { MAX_BUNDLE_BYTES, Wrong, parseJson, short } from "verify-bundle";

import { MAX_RECEIPTS_BYTES } from "./receipts.ts";
import { MAX_RECORD_BYTES } from "./record.ts";
import { MAX_SAMPLES_BYTES } from "./samples.ts";

export type Kind = "record" | "receipts" | "bundle" | "samples";
/** Largest file of each kind that is read, in bytes. */
export const MAX_BYTES: Record<Kind, number> = {
  record: MAX_RECORD_BYTES, receipts: MAX_RECEIPTS_BYTES, bundle: MAX_BUNDLE_BYTES, samples: MAX_SAMPLES_BYTES,
};

/**
 * Tell what a file is.
 *
 * @throws Wrong: nothing that this page verifies; the message says what is wrong with it.
 */
export function kindOf(bytes: Uint8Array, name: string): Kind {
  const start = new TextDecoder().decode(bytes.subarray(0, 7));
  if (start === "end_ms,") return "samples";
  const value = parseJson(bytes, name);
  if (!(value instanceof Map)) throw new Wrong(`${name}: a record, its receipts or a bundle is a JSON object`);
  const format = value.get("format");
  if (format === "mrv-bundle/1") return "bundle";
  if (format === "mrv-record-receipts/1") return "receipts";
  if (value.has("schema_version")) return "record";
  const named = typeof format === "string" ? `its format is ${short(format, 40)}` : "it has neither format nor schema_version";
  throw new Wrong(`${name}: no record, receipts, samples or bundle: ${named}`);
}

/** Read a file that was chosen or dropped; larger ones than any kind may be are refused unread. */
export async function bytesOf(file: File): Promise<Uint8Array> {
  if (file.size > MAX_SAMPLES_BYTES) throw new Wrong(`${file.name}: ${file.size} bytes is more than any file that is read here`);
  return new Uint8Array(await file.arrayBuffer());
}
