// SPDX-License-Identifier: MIT

/** The way from what was hashed up to what is anchored, drawn. */

import { type Json, hex, short } from "verify-bundle";

import { element, scrolling, svg } from "./dom.ts";
import type { Ranks, Samples } from "./record.ts";
import type { RecordReceipts } from "./receipts.ts";

/** One box of the way: what it is, its hash or nothing, and the hashes it is joined with on the way to the box above. */
interface Stop {
  name: string;
  value: string;
  siblings: readonly string[];
}

/** The way of a record: sections of its samples or its ranks, its hash, its batch. */
export function recordPath(hash: string, samples: Samples | null, ranks: Ranks | null, receipts: RecordReceipts | null): HTMLElement {
  const stops: Stop[] = [];
  if (samples !== null) {
    stops.push({ name: `${samples.size} lines of samples in ${samples.sections.length} sections`, value: samples.root.text, siblings: [] });
  }
  if (ranks !== null) stops.push({ name: `records of ${ranks.entries.length} of ${ranks.world_size} ranks`, value: ranks.root.text, siblings: [] });
  const batch = receipts?.batch ?? null;
  stops.push({ name: "the record", value: hash, siblings: batch?.path.map(hex) ?? [] });
  if (batch !== null) stops.push({ name: `batch, of which it is member ${batch.index} of ${batch.size}`, value: batch.batch.text, siblings: [] });
  return drawn(stops);
}

/** The way of a bundle: its leaf, each tree above it, the run's root, the batch. */
export function bundlePath(value: Map<string, Json>): HTMLElement {
  const text = (map: Map<string, Json>, key: string) => String(map.get(key) ?? "");
  const stops: Stop[] = [];
  const proof = value.get("proof");
  if (proof instanceof Map) {
    const steps = proof.get("steps") as Map<string, Json>[];
    const hashes = (step: Map<string, Json> | undefined) => (step?.get("path") ?? []) as string[];
    const label = short(text(proof, "path"), 60);
    stops.push({ name: `${text(proof, "kind")} ${label}`, value: text(proof, "digest"), siblings: hashes(steps[0]) });
    steps.forEach((step, i) => {
      const name = text(step, "label") === "" ? "the run" : short(text(step, "label"), 30);
      const place = `${name}, of which it is child ${text(step, "index")} of ${text(step, "size")}`;
      stops.push({ name: place, value: "", siblings: hashes(steps[i + 1]) });
    });
  }
  const batch = value.get("batch");
  const path = batch instanceof Map ? (batch.get("path") as string[]) : [];
  stops.push({ name: "root of the run", value: text(value, "root"), siblings: path });
  if (batch instanceof Map) {
    stops.push({ name: `batch, of which it is member ${text(batch, "index")} of ${text(batch, "size")}`, value: text(batch, "batch"), siblings: [] });
  }
  return drawn(stops);
}

function drawn(stops: Stop[]): HTMLElement {
  const [width, step, box] = [640, 74, 46];
  const rows = stops.flatMap(({ name, value, siblings }, i) => {
    const y = (stops.length - 1 - i) * step + 2;
    const parts = [
      svg("rect", { x: 2, y, width: 400, height: box, rx: 6, class: "box" }),
      svg("text", { x: 14, y: y + 19, class: "label" }, shortened(name, 58)),
      svg("text", { x: 14, y: y + 37, class: "label hash" }, shortened(value, 52)),
    ];
    if (i < stops.length - 1) parts.push(svg("path", { d: `M200 ${y}v${box - step}`, class: "axis" }));
    if (siblings.length > 0) {
      const said = siblings.length === 1 ? "with 1 hash beside it" : `with ${siblings.length} hashes beside it`;
      parts.push(
        svg("path", { d: `M200 ${y - 14}H420`, class: "axis" }), svg("text", { x: 428, y: y - 10, class: "label" }, said),
        svg("text", { x: 428, y: y + 8, class: "label hash" }, shortened(siblings[0]!, 24), svg("title", {}, siblings.join("\n"))),
      );
    }
    return parts;
  });
  const label = `From below: ${stops.map(({ name }) => name).join("; then ")}`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${stops.length * step}`, role: "img", "aria-label": label }, ...rows);
  const title = "The way up to what is anchored";
  return element("figure", {}, element("figcaption", {}, title), scrolling(title, picture));
}

function shortened(text: string, length: number): string {
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}\u2026` : text;
}
