// SPDX-License-Identifier: MIT

/** Pictures of a record's numbers, as SVG. What they show is in the tables and lists beside them, too. */

import { element, scrolling, svg } from "./dom.ts";
import type { Component, MrvRecord } from "./record.ts";
import type { SampleFile } from "./samples.ts";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [640, 200, 88, 26, 12];
const COLUMNS = 280; // as many means as can be told apart
const NAMES: Record<Component, string> = { cpu: "CPU", gpu: "GPU", ram: "memory" };

/** Power over time by component, out of the samples; each point is the mean of what was measured in its column. */
export function powerPlot(file: SampleFile, durationMs: number): HTMLElement {
  const end = Math.max(durationMs, file.samples.at(-1)?.end ?? 0, 1);
  const lines = file.components.map((_, index) => means(file, index, end));
  const most = lines.reduce((highest, line) => line.reduce((high: number, value) => Math.max(high, value ?? 0), highest), 1);
  const x = (column: number) => LEFT + ((column + 0.5) / COLUMNS) * (WIDTH - LEFT - 8);
  const y = (power: number) => HEIGHT - BOTTOM - (power / most) * (HEIGHT - BOTTOM - TOP);
  const paths = lines.map((line, index) => {
    let [d, pen] = ["", "M"];
    line.forEach((power, column) => {
      if (power === null) pen = "M"; // not measured: a gap, not a zero
      else [d, pen] = [`${d}${pen}${x(column).toFixed(1)} ${y(power).toFixed(1)}h0.01`, "L"];
    });
    return svg("path", { d, class: `line ${file.components[index]}` });
  });
  const label = `Power over time: ${file.components.map((name) => NAMES[name]).join(", ")}, up to ${watts(most)}`;
  const legend = file.components.map((name) => element("li", {}, element("span", { class: `swatch ${name}`, "aria-hidden": "true" }), NAMES[name]));
  return figure("Power over time", picture(label, ...axes(watts(most), seconds(end)), ...paths), element("ul", { class: "legend" }, ...legend));
}

function means(file: SampleFile, index: number, end: number): (number | null)[] {
  const [sums, times] = [new Float64Array(COLUMNS), new Float64Array(COLUMNS)];
  for (const { end: stop, span, powers } of file.samples) {
    const power = powers[index] ?? null;
    if (power === null) continue;
    const [first, last] = [stop - span, stop].map((time) => Math.min(COLUMNS - 1, Math.floor((time / end) * COLUMNS)));
    for (let column = first!; column <= last!; column++) {
      sums[column]! += power * span;
      times[column]! += span;
    }
  }
  return Array.from(sums, (sum, column) => (times[column]! > 0 ? sum / times[column]! : null));
}

/** Energy of each epoch. */
export function epochPlot({ epochs }: MrvRecord): HTMLElement {
  const known = epochs.map(({ energy_uwh: energy }) => energy ?? 0);
  const most = known.reduce((highest, energy) => Math.max(highest, energy), 1);
  const width = (WIDTH - LEFT - 8) / epochs.length;
  const bars = known.map((energy, i) => {
    const height = (energy / most) * (HEIGHT - BOTTOM - TOP);
    const title = svg("title", {}, `epoch ${epochs[i]!.epoch}: ${epochs[i]!.energy_uwh === null ? "not measured" : kwh(energy)}`);
    const [x, y] = [LEFT + i * width + width * 0.1, HEIGHT - BOTTOM - height];
    return svg("rect", { x: x.toFixed(1), y: y.toFixed(1), width: (width * 0.8).toFixed(1), height: height.toFixed(1), class: "bar" }, title);
  });
  const label = `Energy of ${epochs.length} epochs, up to ${kwh(most)}`;
  return figure("Energy by epoch", picture(label, ...axes(kwh(most), `epoch ${epochs.at(-1)!.epoch}`), ...bars));
}

/** Energy of each component. */
export function energyPlot({ energy }: MrvRecord): HTMLElement {
  const most = energy.components.reduce((highest, part) => Math.max(highest, part.energy_uwh ?? 0), 1);
  const rows = energy.components.map(({ component, energy_uwh: used, method }, i) => {
    const width = ((used ?? 0) / most) * (WIDTH - 300);
    const said = used === null ? "not measured" : `${kwh(used)}, ${method}`;
    return svg(
      "g", {}, svg("text", { x: 0, y: 20 + 32 * i, class: "label" }, NAMES[component]),
      svg("rect", { x: LEFT, y: 5 + 32 * i, width: width.toFixed(1), height: 22, class: `bar ${component}` }),
      svg("text", { x: LEFT + width + 8, y: 20 + 32 * i, class: "label" }, said),
    );
  });
  const parts = energy.components.map(({ component, energy_uwh: used }) => `${NAMES[component]} ${used === null ? "not measured" : kwh(used)}`);
  const box = { viewBox: `0 0 ${WIDTH} ${32 * Math.max(rows.length, 1)}`, role: "img", "aria-label": `Energy by component: ${parts.join(", ")}` };
  return figure("Energy by component", svg("svg", box, ...rows));
}

function figure(title: string, picture: SVGElement, ...legend: HTMLElement[]): HTMLElement {
  return element("figure", {}, element("figcaption", {}, title), scrolling(title, picture), ...legend);
}

function picture(label: string, ...content: SVGElement[]): SVGElement {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...content);
}

function axes(top: string, right: string): SVGElement[] {
  const base = HEIGHT - BOTTOM;
  return [
    svg("path", { d: `M${LEFT} ${TOP}V${base}H${WIDTH - 8}`, class: "axis" }),
    svg("text", { x: LEFT - 6, y: TOP + 8, class: "label end" }, top), svg("text", { x: LEFT - 6, y: base, class: "label end" }, "0"),
    svg("text", { x: WIDTH - 8, y: HEIGHT - 6, class: "label end" }, right),
  ];
}

const rounded = (value: number) => Number(value.toPrecision(4)).toString();

/** A power in mW, for people. */
function watts(milliwatts: number): string {
  return `${rounded(milliwatts / 1000)} W`;
}

/** An energy in µWh, for people. */
export function kwh(microwattHours: number): string {
  const [value, unit] = microwattHours >= 1e8 ? [microwattHours / 1e9, "kWh"] : [microwattHours / 1e6, "Wh"];
  return `${rounded(value)} ${unit}`;
}

/** A mass in mg, for people. */
export function grams(milligrams: number): string {
  return milligrams >= 1e6 ? `${rounded(milligrams / 1e6)} kg` : `${rounded(milligrams / 1e3)} g`;
}

/** A duration in ms, for people. */
export function seconds(milliseconds: number): string {
  return milliseconds >= 7_200_000 ? `${rounded(milliseconds / 3_600_000)} h` : `${rounded(milliseconds / 1000)} s`;
}
