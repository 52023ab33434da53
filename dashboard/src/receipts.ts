// SPDX-License-Identifier: MIT

/** `mrv-record-receipts/1`: where a record is anchored (docs/spec/mrv-record.md). */

import {
  type BatchProof, type Digest, type Receipt, batchProof, constant, digest, mapping, orNull, parseJson, receipt, record, text,
} from "verify-bundle";

/** Largest file that is read, in bytes. */
export const MAX_RECEIPTS_BYTES = 16 * 1024 * 1024;

export interface RecordReceipts {
  mrv_id: string;
  commitment: Digest;
  batch: BatchProof | null;
  receipts: Map<string, Receipt>;
  /** What the receipts are for: the record's hash, or its batch. */
  anchored: Digest;
}

/**
 * Read receipts.
 *
 * @throws Wrong: not such a document.
 */
export function parseReceipts(bytes: Uint8Array, what: string): RecordReceipts {
  const value = parseJson(bytes, what, MAX_RECEIPTS_BYTES);
  const found = record<Omit<RecordReceipts, "anchored">>(value, what, {
    format: constant("mrv-record-receipts/1"), mrv_id: text, commitment: digest, batch: orNull(batchProof),
    receipts: mapping(receipt),
  });
  return { ...found, anchored: found.batch?.batch ?? found.commitment };
}
