// SPDX-License-Identifier: MIT

/**
 * The registry that the page came from: its API (docs/registry.md), asked for lists and files. Nobody else is asked, and it
 * is believed in nothing: its files are verified as any others, and must be those that were asked for.
 */

import {
  type Json, type Reader, CannotCheck, Usage, Wrong, demand, digest, integer, list, oneOf, orNull, parseJson, record, short, text, time,
} from "verify-bundle";

import { type Kind, MAX_BYTES } from "./documents.ts";
import { limitedBytes } from "./limited.ts";
import { type Status, hashOf, isMrvId, mrvId, name } from "./record.ts";
import type { GivenFile } from "./verify.ts";

const IDLE_MS = 20_000; // without a byte: samples may take minutes in all
const MAX_LIST_BYTES = 4 * 1024 * 1024;
const MAX_PROBLEM_BYTES = 64 * 1024;
const PAGE_SIZE = 20;

/** Nothing that answers as a registry does: the page is on a plain web server. */
export class NoRegistry extends Error {}
/** The registry has no such file. This is its answer, and says nothing about any chain. */
export class NotHere extends Error {}
/** The registry lets nobody read without a token, or not with this one. */
export class TokenNeeded extends CannotCheck {}
/** The registry gave something else than it was asked for. */
export class NotAskedFor extends Wrong {}

/** What the registry says of a record; only for choosing one. Energy in µWh, emissions in mg CO2e. */
export interface RecordRow {
  mrv_id: string;
  hash: string;
  schema_version: string;
  experiment_name: string;
  model_name: string;
  dataset_name: string;
  status: Status | null;
  ended_at: string;
  energy_uwh: number | null;
  co2e_mg: number | null;
  submitted_at: string;
  networks: string[];
  has_samples: boolean;
}
/** What the registry says of a bundle; `hash` is the SHA-256 of its bytes, and its name. */
export interface BundleRow {
  hash: string;
  run_id: string;
  root: string;
  submitted_at: string;
}
/** A page of a list; `next` asks for the one behind it. */
export interface Page<T> {
  items: T[];
  next: string | null;
}
/** Which page of a list. */
export interface Question {
  /** A text in the id or a name; empty for all. */
  query: string;
  cursor: string | null;
}

const quantity = integer(0, Number.MAX_SAFE_INTEGER);
const hash: Reader<string> = (value, what) => {
  const found = text(value, what);
  demand(/^[0-9a-f]{64}$/.test(found), `${what}: not the SHA-256 of anything`);
  return found;
};
const flag: Reader<boolean> = (value, what) => {
  demand(typeof value === "boolean", `${what}: not true or false`);
  return value;
};
const digestText: Reader<string> = (value, what) => digest(value, what).text;
const recordRow: Reader<RecordRow> = (value, what) =>
  record(value, what, {
    mrv_id: mrvId, hash, schema_version: name, experiment_name: name, model_name: name, dataset_name: name,
    status: orNull(oneOf("completed", "interrupted")), ended_at: time, energy_uwh: orNull(quantity), co2e_mg: orNull(quantity),
    submitted_at: time, networks: list(name, 1000), has_samples: flag,
  });
const bundleRow: Reader<BundleRow> = (value, what) => record(value, what, { hash, run_id: name, root: digestText, submitted_at: time });
const pageOf =
  <T>(row: Reader<T>): Reader<Page<T>> =>
  (value, what) =>
    record(value, what, { items: list(row, PAGE_SIZE), next: orNull(name) });

/** Where a registry that serves this page has its API; null for a page from a disk, beside which nobody is to be asked. */
export function apiBeside(address: string): string | null {
  const { protocol, origin, pathname } = new URL(address);
  return /^https?:$/.test(protocol) ? new URL("api/v1/", `${origin}${pathname}`).href : null;
}

/** Asks one registry. Every failure is one of the errors above, `CannotCheck` or `Wrong`. */
export class Server {
  #token: string | null = null;
  #isRegistry = false;

  /** @param base Where its API is, as `apiBeside` returns it. */
  constructor(private readonly base: string) {}

  /**
   * Show a token with every question from now on. It is kept here and nowhere else.
   *
   * @throws Usage: no token.
   */
  useToken(token: string): void {
    if (!/^[!-~]+$/.test(token)) throw new Usage("a token is printable ASCII characters without spaces: mrv_…");
    this.#token = token;
  }

  /** List records, the newest first. */
  records(question: Question, signal: AbortSignal): Promise<Page<RecordRow>> {
    return this.#document(`records?${written(question)}`, "a list of records", pageOf(recordRow), signal);
  }

  /** List bundles, the newest first. */
  bundles(question: Question, signal: AbortSignal): Promise<Page<BundleRow>> {
    return this.#document(`bundles?${written(question)}`, "a list of bundles", pageOf(bundleRow), signal);
  }

  /**
   * Fetch a record, with its receipts and samples where the registry has them.
   *
   * @throws NotHere: the registry does not have it.
   * @throws NotAskedFor: it gave another one.
   */
  async fetchRecord(id: string, signal: AbortSignal): Promise<Map<Kind, GivenFile>> {
    if (!isMrvId(id)) throw new Usage("an MRV id is 1 to 128 printable ASCII characters without spaces");
    // No record of a registry is called so, and as a part of an address it would lead elsewhere.
    if (id.includes("/") || id === "." || id === "..") throw notHere(id);
    const place = `records/${encodeURIComponent(id)}`;
    const row = await this.#document(place, id, recordRow, signal);
    requireId(row.mrv_id, id, "an entry");
    const found = new Map<Kind, GivenFile>();
    const fetch = async (kind: Kind, path: string, suffix: string) => {
      const bytes = await this.#bytes(`${place}/${path}`, MAX_BYTES[kind], `${id}${suffix}`, signal);
      if (kind !== "samples") requireId(idIn(bytes), id, kind === "record" ? "the record" : "receipts");
      found.set(kind, { name: `${id}${suffix}`, bytes });
    };
    await fetch("record", "content", ".json");
    if (row.networks.length > 0) await fetch("receipts", "receipts", ".receipts.json");
    if (row.has_samples) await fetch("samples", "samples", ".samples.csv");
    return found;
  }

  /**
   * Fetch a bundle by the SHA-256 of its bytes.
   *
   * @throws NotHere: the registry does not have it.
   * @throws NotAskedFor: it gave another one.
   */
  async fetchBundle(hash: string, signal: AbortSignal): Promise<Map<Kind, GivenFile>> {
    const bytes = await this.#bytes(`bundles/${hash}/content`, MAX_BYTES.bundle, `${hash}.mrv.json`, signal);
    const given = hashOf(bytes).text;
    if (given !== `sha256:${hash}`) throw new NotAskedFor(`asked for the bundle sha256:${hash}, this registry gave ${given}`);
    return new Map([["bundle", { name: `${hash}.mrv.json`, bytes }]]);
  }

  async #document<T>(path: string, what: string, read: Reader<T>, signal: AbortSignal): Promise<T> {
    const bytes = await this.#bytes(path, MAX_LIST_BYTES, what, signal, "application/json");
    try {
      return read(parseJson(bytes, "answer"), "answer");
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      throw new Wrong(`this registry's answer for ${what} is none that this page knows: ${error.message}`);
    }
  }

  /** Ask, and return the bytes of a success; `type` is what they must say of themselves. */
  async #bytes(path: string, most: number, what: string, signal: AbortSignal, type?: string): Promise<Uint8Array> {
    const token = this.#token;
    const stop = new AbortController();
    const abort = () => stop.abort();
    let timer = setTimeout(abort, IDLE_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, IDLE_MS);
    };
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    let [response, bytes]: [Response | null, Uint8Array | null] = [null, null];
    try {
      response = await fetch(this.base + path, {
        headers: token === null ? {} : { authorization: `Bearer ${token}` },
        cache: "no-store", // what was chosen is what the registry has now, and a private one's files stay in no cache
        mode: "same-origin",
        redirect: "manual",
        referrerPolicy: "no-referrer",
        signal: stop.signal,
      });
      heard();
      bytes = await limitedBytes(response, response.ok ? most : MAX_PROBLEM_BYTES, heard);
    } catch {
      throw new CannotCheck("the server that this page came from does not answer: is it running, and is there a network?");
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    }
    this.#requireRegistry(response, type);
    if (!response.ok) this.#refuse(response, bytes, token, what);
    if (bytes === null) throw new Wrong(`${what}: more than the ${most} bytes that are read of it`);
    return bytes;
  }

  /** Tell a registry from any other web server by the media types of its answers. */
  #requireRegistry(response: Response, type: string | undefined): void {
    const given = response.headers.get("content-type")?.split(";")[0]!.trim() ?? "";
    if (response.ok ? type === undefined || given === type : given === "application/problem+json") {
      this.#isRegistry = true;
      return;
    }
    if (response.status >= 500 || response.status === 429) return; // whoever stands before it; `#refuse` says so
    if (!this.#isRegistry) throw new NoRegistry("the server that this page came from is no registry");
    const said = response.type === "opaqueredirect" ? "it leads elsewhere" : `status ${response.status}, ${given === "" ? "no media type" : short(given, 40)}`;
    throw new Wrong(`this registry's answer is none of a registry: ${said}`);
  }

  #refuse(response: Response, bytes: Uint8Array | null, token: string | null, what: string): never {
    const { status } = response;
    const detail = detailOf(bytes);
    const because = detail === null ? "" : `: ${detail}`;
    if (status === 404) throw notHere(what);
    if (status === 401) {
      const had = token !== null;
      if (this.#token === token) this.#token = null;
      throw new TokenNeeded(had ? "this registry does not take that token: give another one" : "this registry is private: give a token to read it");
    }
    if (status === 403) throw new TokenNeeded(`this registry lets this token not read${because}. Give one of the scope read`);
    const wait = /^[0-9]{1,6}$/.exec(response.headers.get("retry-after") ?? "")?.[0];
    const when = wait === undefined ? "try again later" : `try again in ${wait} s`;
    if (status === 429) throw new CannotCheck(`this registry was asked too often${because}; ${when}`);
    if (status === 503) throw new CannotCheck(`this registry cannot answer now${because}; ${when}`);
    if (status >= 500) throw new CannotCheck(`this registry failed, with status ${status}${because}; ${when}, or tell whoever runs it`);
    throw new CannotCheck(`this registry refuses the question, with status ${status}${because}`);
  }
}

function notHere(what: string): NotHere {
  return new NotHere(`the server that this page came from keeps no copy of ${what}`);
}

function written({ query, cursor }: Question): string {
  const given = { limit: String(PAGE_SIZE), ...(query === "" ? {} : { q: query }), ...(cursor === null ? {} : { cursor }) };
  return new URLSearchParams(given).toString();
}

/** The `detail` of a problem document (RFC 9457), or null where there is none. */
function detailOf(bytes: Uint8Array | null): string | null {
  const detail = bytes === null ? undefined : fieldIn(bytes, "detail");
  return typeof detail === "string" && detail !== "" ? detail.slice(0, 200) : null;
}

/** The id that a document has in it; undefined where it cannot be read, which verifying it will say. */
function idIn(bytes: Uint8Array): Json | undefined {
  return fieldIn(bytes, "mrv_id");
}

function fieldIn(bytes: Uint8Array, field: string): Json | undefined {
  try {
    const value = parseJson(bytes, "answer");
    return value instanceof Map ? value.get(field) : undefined;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return undefined;
  }
}

function requireId(given: Json | undefined, id: string, what: string): void {
  if (given !== undefined && given !== id) {
    throw new NotAskedFor(`asked for ${id}, this registry gave ${what} of ${typeof given === "string" ? given.slice(0, 128) : "no id"}`);
  }
}
