// SPDX-License-Identifier: MIT

import { describe, expect, test } from "vitest";
import { Wrong, utf8 } from "verify-bundle";

import { checkNumbers, checkSamples } from "../src/numbers.ts";
import type { MrvRecord } from "../src/record.ts";
import { pythonFloat } from "../src/record01.ts";
import { parseSamples } from "../src/samples.ts";
import { readRecord } from "../src/verify.ts";
import { vectors } from "./vectors.ts";

interface Records {
  records: { name: string; text: string; hash: string; wrong: string[] }[];
  first_version: { text: string; hash: string }[];
  samples: { name: string; text: string; wrong: string[] }[];
  refused: { reason: string; text: string }[];
  refused_samples: { reason: string; text: string }[];
}

const { records, first_version: firstVersion, samples, refused, refused_samples: refusedSamples } = vectors<Records>("records.json");
const right = records[0]!;

describe("records", () => {
  test.each(records)("$name", ({ text, hash, wrong }) => {
    const [record, commitment] = readRecord(utf8(text), "record");
    expect(commitment.text).toBe(`sha256:${hash}`);
    expect(checkNumbers(record as MrvRecord).map((finding) => finding.place)).toEqual(wrong);
  });

  test("the first version is hashed as Python writes it", () => {
    for (const { text, hash } of firstVersion) expect([text, readRecord(utf8(text), "record")[1].text]).toEqual([text, `sha256:${hash}`]);
  });

  test.each(refused)("$reason is refused", ({ text }) => {
    expect(() => readRecord(utf8(text), "record")).toThrow(Wrong);
  });
});

describe("samples", () => {
  test.each(samples)("$name", ({ text, wrong }) => {
    const [record] = readRecord(utf8(right.text), "record");
    const file = parseSamples(utf8(text), "samples");
    expect(checkSamples(record as MrvRecord, (record as MrvRecord).samples!, file).map((finding) => finding.place)).toEqual(wrong);
  });

  test.each(refusedSamples)("$reason is refused", ({ text }) => {
    expect(() => parseSamples(utf8(text), "samples")).toThrow(Wrong);
  });
});

test("floats are written as Python writes them", () => {
  for (const [value, text] of [[0.0001, "0.0001"], [0.00001, "1e-05"], [1e16, "1e+16"], [1.5e-7, "1.5e-07"], [100, "100.0"], [1e100, "1e+100"]] as const) {
    expect(pythonFloat(value)).toBe(text);
  }
});
