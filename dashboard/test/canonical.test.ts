// SPDX-License-Identifier: MIT

import { expect, test } from "vitest";
import { Wrong, canonicalBytes, parseJson, utf8 } from "verify-bundle";

import { vectors } from "./vectors.ts";

interface Canonical {
  texts: { json: string; canonical: string }[];
  doubles: [string, string][];
  refused: { reason: string; hex: string }[];
}

const { texts, doubles, refused } = vectors<Canonical>("canonical.json");
const again = (json: string) => canonicalBytes(parseJson(utf8(json), "x")).toString();

test("texts have their canonical form", () => {
  for (const { json, canonical } of texts) {
    expect(again(json)).toBe(canonical);
    expect(again(canonical)).toBe(canonical);
  }
});

test("doubles are written and read back", () => {
  for (const [bits, text] of doubles) {
    const value = new DataView(Uint8Array.from(Buffer.from(bits, "hex")).buffer).getFloat64(0);
    expect(canonicalBytes(value).toString()).toBe(text);
    expect(parseJson(utf8(text), "x")).toBe(value === 0 ? 0 : value);
  }
});

test.each(refused)("$reason is refused", ({ hex }) => {
  expect(() => parseJson(Buffer.from(hex, "hex"), "x")).toThrow(Wrong);
});

test("more bytes than allowed are refused before they are looked at", () => {
  expect(() => parseJson(utf8("[1]"), "x", 2)).toThrow("3 bytes is more than the 2 allowed");
});
