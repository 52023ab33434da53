// SPDX-License-Identifier: MIT

/** The page: takes files and settings, asks for the verdict, shows it. */

import "./style.css";

import { CannotCheck, type Trusted, Usage, Wrong, readOptions } from "verify-bundle";

import { verifyGivenBundle } from "./bundle.ts";
import { Chain, DEVELOPMENT, HttpProvider, type Provider, chainName } from "./chain.ts";
import { type Kind, bytesOf, kindOf } from "./documents.ts";
import { byId, element, visible } from "./dom.ts";
import { Listing } from "./listing.ts";
import { isMrvId } from "./record.ts";
import { type Named, findRegistered } from "./registry.ts";
import { NoRegistry, NotAskedFor, NotHere, Server, TokenNeeded, apiBeside } from "./server.ts";
import { type Settings, addressOf, addressWith, addressesOf, settingsOf } from "./settings.ts";
import { type Shown, bundleSections, recordSections, registrySection, showVerdict } from "./show.ts";
import { type GivenFile, verifyRecord } from "./verify.ts";

interface EventProvider extends Provider {
  on?(event: string, listener: () => void): void;
}

const FIELDS = ["id", "rpc", "contract", "provenance", "chain", "submitter"] as const;
const NOT_HERE = "That says nothing about any chain, none of which was asked: connect to one below to look the id up there, or drop the file here.";
const files = new Map<Kind, GivenFile>();
/** Settings that came with the page's address and that nobody has touched: whoever made the link chose them. */
const linked = new Set<keyof Settings>();
let chain: Chain | null = null;
/** Counts what was started, so that a slow answer never shows over a later question. */
let latest = 0;
/** Files on their way from the registry, for which a verification waits; ends in any case, and without them where it failed. */
let coming: Promise<void> | null = null;
let stopComing = new AbortController();

/** The registry that this page may have come from, and its list. */
const api = apiBeside(location.href);
const server = api === null ? null : new Server(api);
const listing = server === null ? null : new Listing(server, choose, fetchLinked);

const field = (name: string) => byId<HTMLInputElement>(name);
const injected = () => (window as { ethereum?: EventProvider }).ethereum;
const settings = (): Settings => Object.fromEntries(FIELDS.map((name) => [name, field(name).value.trim()])) as unknown as Settings;

function start(): void {
  const given = settingsOf(location.href);
  for (const name of FIELDS) {
    field(name).value = given[name];
    if (given[name] !== "") linked.add(name);
    field(name).addEventListener("input", () => {
      linked.delete(name);
      if (name === "id") forgetComing();
      if (name === "rpc" || name === "chain") disconnect("Not connected: no chain is asked.");
      changed();
    });
  }
  field("known").addEventListener("input", changed);
  field("file").addEventListener("change", () => void take([...(field("file").files ?? [])]));
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    void verify();
  });
  byId("connect").addEventListener("click", () => void connect(() => new HttpProvider(settings().rpc)));
  byId("metamask").addEventListener("click", () => void connect(() => injected()!));
  byId("clear").addEventListener("click", clear);
  acceptDrops();
  const wallet = injected();
  byId<HTMLButtonElement>("metamask").disabled = wallet === undefined;
  byId("metamask-note").textContent = wallet === undefined ? "No wallet is installed in this browser." : "It is asked to read, never to sign.";
  wallet?.on?.("chainChanged", () => disconnect("The wallet changed its chain: connect again."));
  remember();
  if (linked.size > 0) showLinked();
  void listing?.search();
  fetchLinked();
}

function showLinked(): void {
  showVerdict("NONE", "The link filled in the fields below. No chain is asked before you connect: check them first.");
}

/** Fetch the record that a link names. Its id came with the page's address, so the server has seen it. */
function fetchLinked(): void {
  if (server === null || !linked.has("id") || files.size > 0) return;
  const { id } = settings();
  void fetched(`Asking the server that this page came from for ${id}.`, (signal) => server.fetchRecord(id, signal));
}

/** Take a record or a bundle from the registry's list. */
function choose(kind: "record" | "bundle", name: string): void {
  // The id there would be that of another record.
  field("id").value = "";
  linked.delete("id");
  remember();
  byId("verdict").scrollIntoView({ block: "nearest" });
  const ask = (signal: AbortSignal) => (kind === "record" ? server!.fetchRecord(name, signal) : server!.fetchBundle(name, signal));
  void fetched(`Fetching the ${kind} from this registry.`, ask);
}

/** Take files of the registry as if they had been dropped. */
async function fetched(said: string, ask: (signal: AbortSignal) => Promise<Map<Kind, GivenFile>>): Promise<void> {
  forgetComing();
  files.clear();
  listFiles();
  const mine = begin(said);
  const { signal } = stopComing;
  const arrived = ask(signal).then((found) => {
    if (signal.aborted) return;
    for (const [kind, file] of found) files.set(kind, file);
    listFiles();
  });
  coming = arrived.catch(() => {});
  try {
    await arrived;
  } catch (error) {
    if (mine === latest) fail(error);
    if (error instanceof TokenNeeded && !signal.aborted) listing!.askForToken(error.message);
    return;
  } finally {
    if (!signal.aborted) coming = null;
  }
  if (mine === latest) await verify();
}

/** Other files are asked for, or none. */
function forgetComing(): void {
  stopComing.abort();
  stopComing = new AbortController();
  coming = null;
}

function acceptDrops(): void {
  const zone = byId("drop");
  const over = (isOver: boolean) => (event: DragEvent) => {
    event.preventDefault();
    zone.classList.toggle("over", isOver);
  };
  // Everywhere, so that a file that misses the zone does not replace the page.
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    void take([...(event.dataTransfer?.files ?? [])]);
  });
}

/** Any verdict that is shown is of other input now. */
function changed(): void {
  latest += 1;
  remember();
  byId("result").replaceChildren();
  showVerdict("NONE", "Something was changed: verify again.");
}

/** Make the link for others: to this id, with everything but the node. */
function linkTo(id: string): void {
  byId<HTMLAnchorElement>("permalink").href = addressWith(location.href, { ...settings(), id }, false);
}

function remember(): void {
  linkTo(settings().id);
  try {
    history.replaceState(null, "", addressWith(location.href, settings(), true));
  } catch {
    // Some browsers do not let a page from a disk change its address.
  }
}

async function take(chosen: File[]): Promise<void> {
  forgetComing();
  const mine = begin("Reading the files.");
  try {
    const found = await sorted(chosen);
    if (mine !== latest) return;
    // Receipts and samples are of the record they came with, or of the one that is there.
    if (found.has("record") || found.has("bundle")) files.clear();
    else if (found.size > 0) files.delete("bundle");
    for (const [kind, file] of found) files.set(kind, file);
  } catch (error) {
    if (mine === latest) fail(error);
    return;
  } finally {
    field("file").value = "";
    listFiles();
  }
  if (files.size > 0) await verify();
  else changed();
}

/** Tell files apart. One that cannot be read, and that came with receipts, is the record that they are of. */
async function sorted(chosen: File[]): Promise<Map<Kind, GivenFile>> {
  const found = new Map<Kind, GivenFile>();
  const strange: [GivenFile, unknown][] = [];
  for (const file of chosen) {
    const given = { name: file.name, bytes: await bytesOf(file) };
    try {
      const kind = kindOf(given.bytes, given.name);
      if (found.has(kind)) throw new Usage(`two of one kind: ${found.get(kind)!.name} and ${given.name}. Give one at a time`);
      found.set(kind, given);
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      strange.push([given, error]);
    }
  }
  const [first, ...more] = strange;
  if (first === undefined) return found;
  if (more.length > 0 || found.has("record") || !found.has("receipts")) throw first[1];
  return found.set("record", first[0]);
}

function listFiles(): void {
  byId("given").replaceChildren(...[...files].map(([kind, { name, bytes }]) => element("li", {}, `${kind}: ${name} (${bytes.length} bytes)`)));
}

function clear(): void {
  forgetComing();
  files.clear();
  listFiles();
  changed();
  showVerdict("NONE", "Choose a record or a bundle, or look up an id.");
}

async function connect(provider: () => Provider): Promise<void> {
  disconnect("Connecting\u2026");
  const mine = latest;
  try {
    const found = await Chain.connect(provider());
    if (mine !== latest) return;
    const wanted = settings().chain;
    if (wanted !== "" && wanted !== String(found.chainId)) {
      throw new CannotCheck(`the node is on ${chainName(found.chainId)}, and not on chain ${wanted}`);
    }
    chain = found;
    indicate("on", `Connected: ${chainName(found.chainId)}.`);
  } catch (error) {
    if (mine === latest) indicate("failed", `Not connected: ${reason(error)}.`);
    return;
  }
  if (files.size > 0 || coming !== null || settings().id !== "") await verify();
}

function disconnect(said: string): void {
  chain = null;
  changed();
  indicate("off", said);
}

function indicate(state: "on" | "off" | "failed", said: string): void {
  byId("connection").className = state;
  byId("connected").textContent = visible(said);
}

/** Take away what is shown, which is about other input from now on, and return the number of this question. */
function begin(said: string): number {
  byId("result").replaceChildren();
  showVerdict("BUSY", said);
  return ++latest;
}

async function verify(): Promise<void> {
  const mine = begin("Computing hashes, asking the chain.");
  await coming;
  await new Promise((resolve) => setTimeout(resolve)); // let the browser show it
  if (mine !== latest) return;
  try {
    const [verdict, summary, sections] = await found();
    if (mine !== latest) return;
    byId("result").replaceChildren(...sections);
    showVerdict(verdict, summary);
  } catch (error) {
    if (mine === latest) fail(error);
  }
}

async function found(): Promise<[Shown, string, HTMLElement[]]> {
  const { id, contract, provenance, submitter } = settings();
  if (id !== "" && !isMrvId(id)) throw new Usage("an MRV id is 1 to 128 printable ASCII characters without spaces");
  const [address, other] = [contract, provenance].map((each) => (each === "" ? null : addressOf(each))) as [string | null, string | null];
  const expected = addressesOf(submitter);
  const named: Named = { address, provenance: other, expected };
  const trusted = trustedFacts();
  const assumed = assumptions();
  const [bundle, record] = [files.get("bundle"), files.get("record")];
  if (bundle !== undefined) {
    const report = await verifyGivenBundle(bundle, trusted, named, chain);
    return [report.verdict, report.summary, bundleSections(report, bundle.bytes, bundle.name, assumed)];
  }
  if (record !== undefined) {
    const [receipts, samples] = [files.get("receipts") ?? null, files.get("samples") ?? null];
    const report = await verifyRecord({ file: record, mrvId: id === "" ? null : id, receipts, samples, named, chain, trusted });
    linkTo(report.mrvId);
    return [report.verdict, report.summary, recordSections(report, record.bytes, record.name, assumed)];
  }
  if (id === "") throw new Usage(files.size === 0 ? "choose a file, or give an id" : "the record itself is missing: drop it here, too");
  if (chain === null || address === null) throw new CannotCheck("connect to a chain and name the registry's address to look an id up");
  const registered = await findRegistered({ chain, address, expected }, id, null);
  const counts = registered.others.filter((each) => expected.length === 0 || each.isExpected === true);
  if (counts.length === 0) return ["NOT_FOUND", `${id} is not registered by anybody whose registrations count.`, [registrySection(id, registered)]];
  return ["REGISTERED", `${id} is registered. Drop the record's file here to compare it.`, [registrySection(id, registered)]];
}

/** What the visitor says they know, as `--block` and `--log-key` of `mrv verify` take it. */
function trustedFacts(): Trusted {
  const lines = byId<HTMLTextAreaElement>("known").value.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const [keys, blocks] = [lines.filter((line) => line.includes("+")), lines.filter((line) => !line.includes("+"))];
  return readOptions({ "--block": blocks, "--log-key": keys, "--min-work": [], "--root": [], "--network": [] }).trusted;
}

/** What every verdict rests on that no check here can show. */
function assumptions(): string[] {
  const used = [...linked].filter((name) => name !== "id");
  const link = `whoever made the link to this page: it chose ${used.join(", ")}. Compare them with a source of your own`;
  const development = "a development chain, which anyone can make anew with whatever they like on it";
  return [
    ...(chain === null ? [] : ["the node that was asked: it could deny what is there, and claim what is not"]),
    ...(used.length > 0 ? [link] : []),
    ...(chain !== null && DEVELOPMENT.includes(chain.chainId) ? [development] : []),
  ];
}

function fail(error: unknown): void {
  byId("result").replaceChildren();
  if (error instanceof NoRegistry) showLinked();
  else if (error instanceof NotHere) showVerdict("NOT_HERE", `${reason(error)}. ${NOT_HERE}`);
  else if (error instanceof NotAskedFor) showVerdict("NOT_ASKED_FOR", `${reason(error)}. It was not looked at.`);
  else showVerdict(error instanceof Wrong ? "UNREADABLE" : error instanceof Usage ? "NONE" : "UNREACHABLE", `${reason(error)}.`);
}

function reason(error: unknown): string {
  const isOurs = error instanceof Wrong || error instanceof Usage || error instanceof CannotCheck || error instanceof NotHere;
  return isOurs ? error.message : `defect of this page: ${(error as Error).message}`;
}

start();
