// SPDX-License-Identifier: MIT

/** Making elements. Text of others only ever becomes text: nothing here, or anywhere in this page, parses markup. */

type Child = Node | string | null;

/** Make an HTML element with attributes and children; texts are shown as `visible` writes them. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Record<string, string> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  append(made, children);
  return made;
}

/** Make an SVG element. */
export function svg(name: string, attributes: Record<string, string | number> = {}, ...children: Child[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  append(made, children);
  return made;
}

function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child !== null) parent.append(typeof child === "string" ? document.createTextNode(visible(child)) : child);
  }
}

/** Put something into a box that scrolls where the page is narrow, and that keys reach then. */
export function scrolling(label: string, content: HTMLElement | SVGElement): HTMLElement {
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, content);
}

/** The element of the page with this id. */
export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Write out what hides or turns text around: control and format characters, but line feeds and tabs. */
export function visible(text: string): string {
  const escape = (character: string) => `\\u{${character.codePointAt(0)!.toString(16)}}`;
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => ("\n\t".includes(character) ? character : escape(character)));
}
