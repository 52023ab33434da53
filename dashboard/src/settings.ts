// SPDX-License-Identifier: MIT

/**
 * The visitor's settings, remembered in the page's address and nowhere else. The id is in the query, where a server may
 * see it; everything else is behind the `#`, which browsers send to nobody: an RPC URL may hold a key.
 */

import { Usage } from "verify-bundle";

export interface Settings {
  id: string;
  rpc: string;
  contract: string;
  provenance: string;
  chain: string;
  submitter: string;
}

const PRIVATE = ["rpc", "contract", "provenance", "chain", "submitter"] as const;

/** Read the settings of an address. */
export function settingsOf(address: string): Settings {
  const url = new URL(address);
  const hidden = new URLSearchParams(url.hash.slice(1));
  const named = Object.fromEntries(PRIVATE.map((name) => [name, hidden.get(name) ?? ""])) as Omit<Settings, "id">;
  return { id: url.searchParams.get("id") ?? "", ...named };
}

/** Write settings into an address; `withNode` says whether the node's URL goes along, which a link for others leaves out. */
export function addressWith(address: string, settings: Settings, withNode: boolean): string {
  const url = new URL(address);
  if (settings.id === "") url.searchParams.delete("id");
  else url.searchParams.set("id", settings.id);
  const shown = PRIVATE.filter((name) => settings[name] !== "" && (withNode || name !== "rpc"));
  url.hash = new URLSearchParams(shown.map((name) => [name, settings[name]])).toString();
  return url.href;
}

/** Read addresses of accounts, separated by commas or spaces: lower-case, sorted, each once. */
export function addressesOf(text: string): string[] {
  const words = text.split(/[\s,]+/).filter((word) => word !== "");
  return [...new Set(words.map(addressOf))].sort();
}

/** Read the address of an account or contract. */
export function addressOf(text: string): string {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) throw new Usage("an address is 0x and 40 hexadecimal digits");
  return text.toLowerCase();
}
