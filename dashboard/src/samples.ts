// SPDX-License-Identifier: MIT

/** The power samples of a run (docs/spec/mrv-samples.md): a text file that a record commits to line by line. */

import { demand, hex, leafHash, short } from "verify-bundle";

import { rootOfLeaves } from "./merkle.ts";
import type { Component, Samples } from "./record.ts";

/** Largest file that is read, in bytes. */
export const MAX_SAMPLES_BYTES = 256 * 1024 * 1024;
const MAX_SECTIONS = 256;
const COMPONENTS: readonly string[] = ["cpu", "gpu", "ram"];

/** Mean powers in mW during the `span` ms that ended `end` ms after the start; null where one was not measured. */
export interface Sample {
  end: number;
  span: number;
  powers: (number | null)[];
}

export interface SampleFile {
  components: Component[];
  samples: Sample[];
  /** Leaf hashes of all lines, the head line first. */
  leaves: Uint8Array[];
}

/**
 * Parse a file of samples.
 *
 * @throws Wrong: not such a file; the message names the line.
 */
export function parseSamples(bytes: Uint8Array, what: string): SampleFile {
  demand(bytes.length <= MAX_SAMPLES_BYTES, `${what}: ${bytes.length} bytes is more than the ${MAX_SAMPLES_BYTES} allowed`);
  demand(bytes[bytes.length - 1] === 0x0a, `${what}: the last line is cut off`);
  const lines = splitLines(bytes, what);
  const decoder = new TextDecoder();
  const components = parseHead(decoder.decode(lines[0]), what);
  const samples: Sample[] = [];
  let last = 0;
  for (let i = 1; i < lines.length; i++) {
    const place = `${what} line ${i + 1}`;
    const sample = parseLine(decoder.decode(lines[i]), components.length, place);
    const overlap = last - (sample.end - sample.span);
    demand(overlap <= 0, `${place}: begins ${overlap} ms before the one above it ends`);
    last = sample.end;
    samples.push(sample);
  }
  return { components, samples, leaves: lines.map((line) => leafHash(line)) };
}

function splitLines(bytes: Uint8Array, what: string): Uint8Array[] {
  const strange = bytes.findIndex((byte) => byte >= 0x80);
  demand(strange < 0, `${what}: not ASCII at byte ${strange}`);
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(0x0a, start);
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

function parseHead(line: string, what: string): Component[] {
  const [first, second, ...names] = line.split(",");
  const components = names.map((name) => name.replace(/_mw$/, ""));
  const known = components.every((name, i) => COMPONENTS.includes(name) && names[i] === `${name}_mw`);
  const once = components.length > 0 && new Set(components).size === components.length;
  demand(first === "end_ms" && second === "span_ms" && known && once, `${what} line 1: not the head of a file of samples`);
  return components as Component[];
}

function parseLine(line: string, components: number, place: string): Sample {
  const fields = line.split(",");
  demand(fields.length === 2 + components, `${place}: ${fields.length} numbers where there must be ${2 + components}`);
  const numbers = fields.map((field, i) => {
    const empty = field === "" && i >= 2;
    demand(empty || /^(?:0|[1-9][0-9]{0,14})$/.test(field), `${place}: ${short(field, 40)} is no number`);
    return empty ? null : Number(field);
  });
  const [end, span] = numbers as [number, number];
  demand(span > 0 && span <= end, `${place}: a span of ${span} ms that ends at ${end} ms`);
  return { end, span, powers: numbers.slice(2) };
}

/** Integrate the power of a component from `from` to `to` in ms: µJ, exactly; null where none of it was measured. */
export function energyUj(file: SampleFile, component: Component, from = 0, to = Infinity): bigint | null {
  const index = file.components.indexOf(component);
  let [total, rest, measured] = [0n, 0, false];
  for (let i = firstEndingAfter(file.samples, from); i < file.samples.length; i++) {
    const { end, span, powers } = file.samples[i]!;
    if (end - span >= to) break;
    const power = powers[index] ?? null;
    const overlap = Math.min(end, to) - Math.max(end - span, from);
    if (power === null || overlap <= 0) continue;
    measured = true;
    const energy = power * overlap;
    if (energy + rest <= Number.MAX_SAFE_INTEGER) rest += energy;
    else [total, rest] = [total + BigInt(rest) + BigInt(power) * BigInt(overlap), 0];
  }
  return measured ? total + BigInt(rest) : null;
}

function firstEndingAfter(samples: Sample[], time: number): number {
  let [low, high] = [0, samples.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle]!.end > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The times for which there is no power, as `[component or null for all, start, end]` in ms. */
export function gapsOf(file: SampleFile, durationMs: number): [Component | null, number, number][] {
  const found: [Component | null, number, number][] = [];
  let last = 0;
  for (const { end, span } of file.samples) {
    if (end - span > last) found.push([null, last, end - span]);
    last = end;
  }
  if (durationMs > last) found.push([null, last, durationMs]);
  file.components.forEach((component, index) => {
    let start: number | null = null;
    let stop = 0;
    for (const { end, span, powers } of file.samples) {
      if (powers[index] === null) {
        start ??= end - span;
        stop = end;
      } else if (start !== null) {
        found.push([component, start, stop]);
        start = null;
      }
    }
    if (start !== null) found.push([component, start, stop]);
  });
  return found;
}

/** How many leaves a section has: the least power of two that makes at most 256 of them. */
export function sectionSize(lines: number): number {
  let size = 1;
  while (Math.ceil(lines / size) > MAX_SECTIONS) size *= 2;
  return size;
}

/** Which lines are not those that a record commits to: first and last line numbers, from 1. */
export function changedSections(file: SampleFile, stated: Samples): [number, number][] {
  const size = stated.section_size;
  const roots: string[] = [];
  for (let start = 0; start < file.leaves.length; start += size) {
    roots.push(hex(rootOfLeaves(file.leaves.slice(start, start + size))));
  }
  const expected = stated.sections.map(({ bytes }) => hex(bytes));
  const changed: [number, number][] = [];
  for (let i = 0; i < Math.max(expected.length, roots.length); i++) {
    const end = Math.min((i + 1) * size, Math.max(stated.size, file.leaves.length));
    if (expected[i] !== roots[i]) changed.push([i * size + 1, end]);
  }
  return changed;
}
