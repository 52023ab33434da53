// SPDX-License-Identifier: MIT

/** The section "This registry": its list, and the search in it. It shows nothing where the server is no registry. */

import { byId, element, scrolling, visible } from "./dom.ts";
import { grams, kwh } from "./plots.ts";
import { type BundleRow, type Page, type Question, type RecordRow, NoRegistry, Server, TokenNeeded } from "./server.ts";

const MOST_SHOWN = 80; // characters of a name: more would only make the table long, and what is chosen is shown whole

/** A row of the table: what it is called at the registry and for people, and its cells, the first of which is its head. */
interface Row {
  name: string;
  title: string;
  cells: (string | HTMLElement)[];
}
interface List {
  kind: "record" | "bundle";
  heads: string[];
  ask: (server: Server, question: Question, signal: AbortSignal) => Promise<Page<Row>>;
}

const LISTS: Record<string, List> = {
  records: {
    kind: "record",
    heads: ["Experiment, model and id", "Ended, UTC", "Energy", "CO2e", "Anchored on", "Submitted, UTC"],
    ask: async (server, question, signal) => rowsOf(await server.records(question, signal), recordRow),
  },
  bundles: {
    kind: "bundle",
    heads: ["Run", "SHA-256 of the bundle", "Root", "Submitted, UTC"],
    ask: async (server, question, signal) => rowsOf(await server.bundles(question, signal), bundleRow),
  },
};

/** The section, as a visitor uses it. */
export class Listing {
  /** What the rows that are shown were asked for with; "More" goes on with it, whatever the fields say by then. */
  #asked: { name: string; query: string } = { name: "records", query: "" };
  #next: string | null = null;
  #body: HTMLElement | null = null;
  /** Counts questions, so that a slow answer never shows over a later one. */
  #latest = 0;
  #stop = new AbortController();
  #again: () => Promise<void> = () => this.search();

  /**
   * @param choose Takes what was chosen.
   * @param tokenGiven Called when the registry that asked for a token answers.
   */
  constructor(
    private readonly server: Server,
    private readonly choose: (kind: "record" | "bundle", name: string) => void,
    private readonly tokenGiven: () => void,
  ) {
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.search();
    });
    for (const radio of document.querySelectorAll('#search input[name="kind"]')) radio.addEventListener("change", () => void this.search());
    byId("more").addEventListener("click", () => void this.#more());
    byId("again").addEventListener("click", () => void this.#again());
    byId("access").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#useToken();
    });
  }

  /** List what the fields say. */
  async search(): Promise<void> {
    const name = document.querySelector<HTMLInputElement>('#search input[name="kind"]:checked')!.value;
    this.#asked = { name, query: byId<HTMLInputElement>("query").value.trim() };
    this.#again = () => this.search();
    await this.#load(null);
  }

  /** Say that the registry wants a token, and take one. */
  askForToken(why: string): void {
    swap("search", "access", "token");
    this.#say(`${why}.`);
  }

  async #more(): Promise<void> {
    this.#again = () => this.#more();
    await this.#load(this.#next);
  }

  async #useToken(): Promise<void> {
    const field = byId<HTMLInputElement>("token");
    try {
      this.server.useToken(field.value.trim());
    } catch (error) {
      this.#say(`${(error as Error).message}.`);
      return;
    }
    field.value = "";
    await this.search();
  }

  async #load(cursor: string | null): Promise<void> {
    const mine = ++this.#latest;
    this.#stop.abort();
    this.#stop = new AbortController();
    const { name, query } = this.#asked;
    byId("list").setAttribute("aria-busy", "true");
    byId("again").hidden = true;
    try {
      const page = await LISTS[name]!.ask(this.server, { query, cursor }, this.#stop.signal);
      if (mine === this.#latest) this.#show(page, cursor !== null);
    } catch (error) {
      if (mine === this.#latest) this.#fail(error, cursor !== null);
    }
    if (mine === this.#latest) byId("list").removeAttribute("aria-busy");
  }

  #show({ items, next }: Page<Row>, isMore: boolean): void {
    byId("registry").hidden = false;
    if (!byId("access").hidden) {
      swap("access", "search", "query");
      this.tokenGiven();
    }
    const { name, query } = this.#asked;
    const { kind, heads } = LISTS[name]!;
    const added = items.map(({ name: key, title, cells: [head, ...cells] }) => {
      const button = element("button", { type: "button", "aria-label": visible(`Verify ${title}`) }, "Verify");
      button.addEventListener("click", () => this.choose(kind, key));
      return element(
        "tr", {}, element("td", {}, button), element("th", { scope: "row" }, head!), ...cells.map((cell) => element("td", {}, cell)),
      );
    });
    if (isMore) {
      this.#body!.append(...added);
      added[0]?.querySelector("button")?.focus(); // where "More" was, which may be gone
    } else {
      this.#body = element("tbody", {}, ...added);
      const row = element("tr", {}, ...["Choose", ...heads].map((each) => element("th", { scope: "col" }, each)));
      const table = element("table", { class: name }, element("thead", {}, row), this.#body);
      byId("list").replaceChildren(...(added.length > 0 ? [scrolling(`${name} of this registry`, table)] : []));
    }
    this.#next = next;
    byId("more").hidden = next === null;
    this.#say(counted(this.#body!.childElementCount, name, query, next !== null));
  }

  #fail(error: unknown, isMore: boolean): void {
    if (error instanceof NoRegistry) return;
    byId("registry").hidden = false;
    if (!isMore) byId("list").replaceChildren(); // the rows would pass for the answer to this question
    byId("more").hidden = true;
    if (error instanceof TokenNeeded) return this.askForToken(error.message);
    byId("again").hidden = false;
    if (isMore) byId("again").focus(); // "More" had it
    this.#say(`${(error as Error).message}.`);
  }

  #say(text: string): void {
    byId("listed").textContent = visible(text.charAt(0).toUpperCase() + text.slice(1));
  }
}

/** Show one part for another, and take the focus along: keys would begin at the top of the page again. */
function swap(hidden: string, shown: string, field: string): void {
  const had = byId(hidden).contains(document.activeElement);
  byId(shown).hidden = false;
  if (had) byId(field).focus();
  byId(hidden).hidden = true;
}

function rowsOf<T>({ items, next }: Page<T>, row: (item: T) => Row): Page<Row> {
  return { items: items.map(row), next };
}

function recordRow(row: RecordRow): Row {
  const names = element("span", {}, element("strong", {}, cut(row.experiment_name)), ` \u00b7 ${cut(row.model_name)}`, element("br"), code(row.mrv_id));
  const ended = element("span", {}, minute(row.ended_at), ...(row.status === "interrupted" ? [" ", whole("interrupted")] : []));
  const energy = quantity(row.energy_uwh, kwh);
  const mass = quantity(row.co2e_mg, grams);
  const networks = row.networks.length === 0 ? "nowhere yet" : cut(row.networks.join(", "));
  return { name: row.mrv_id, title: row.mrv_id, cells: [names, ended, energy, mass, networks, minute(row.submitted_at)] };
}

function bundleRow(row: BundleRow): Row {
  const run = cut(row.run_id);
  return { name: row.hash, title: run, cells: [element("strong", {}, run), code(row.hash), code(row.root), minute(row.submitted_at)] };
}

function quantity(value: number | null, written: (value: number) => string): HTMLElement {
  return whole(value === null ? "not known" : written(value));
}

/** A text that is not broken over lines. */
function whole(text: string): HTMLElement {
  return element("span", { class: "whole" }, text);
}

function code(text: string): HTMLElement {
  return element("code", {}, text);
}

function cut(text: string): string {
  const characters = [...text];
  return characters.length > MOST_SHOWN ? `${characters.slice(0, MOST_SHOWN).join("")}\u2026` : text;
}

/** A time to the minute, for people; all of it for programs. */
function minute(time: string): HTMLElement {
  return element("time", { datetime: time }, whole(time.slice(0, 10)), ` ${time.slice(11, 16)}`);
}

function counted(count: number, name: string, query: string, isMore: boolean): string {
  const what = count === 1 ? name.slice(0, -1) : name;
  const wanted = query === "" ? "" : ` with \u201c${query}\u201d in an id or a name`;
  if (count > 0) return `${count} ${what}${wanted}, the newest first${isMore ? "; there are more" : ""}.`;
  if (query !== "") return `No ${what}${wanted}. Search for less of it, or list the ${name === "records" ? "bundles" : "records"}.`;
  return `There are no ${what} here yet. They are brought here with: mrv submit FILE --registry ADDRESS`;
}
