// SPDX-License-Identifier: MIT

/** A node of an Ethereum chain: asked through MetaMask or any EIP-1193 provider, or over HTTP. It only ever reads. */

import { CannotCheck, short } from "verify-bundle";

import { limitedBytes } from "./limited.ts";

const TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Chain ids of development nodes: nobody competes for their blocks, each is final at once, and anyone can make one. */
export const DEVELOPMENT: readonly number[] = [1337, 31337];
// Arbitrum's chains tell contracts the block numbers of another chain, so that no block would confirm a record.
const PARENT_NUMBERED = [42161, 42170, 421614];
const NAMES = new Map([
  [1, "Ethereum"], [10, "OP Mainnet"], [100, "Gnosis"], [137, "Polygon"], [1337, "development chain"], [8453, "Base"],
  [17000, "Holesky"], [31337, "development chain"], [42161, "Arbitrum One"], [560048, "Hoodi"], [11155111, "Sepolia"],
]);

/** EIP-1193. */
export interface Provider {
  request(call: { method: string; params: unknown[] }): Promise<unknown>;
}

/** A block as far as it is looked at; the time in seconds since 1970. */
export interface Block {
  number: number;
  hash: string;
  timestamp: number;
}

/** Return a chain's id with its name where it is known. */
export function chainName(chainId: number): string {
  const name = NAMES.get(chainId);
  return name === undefined ? `chain ${chainId}` : `${name} (chain ${chainId})`;
}

/** A node over HTTP (JSON-RPC 2.0). No cookies, no referrer, no redirects; an answer that is too late or too long is none. */
export class HttpProvider implements Provider {
  #id = 0;

  /** @throws CannotCheck: not an http or https URL. */
  constructor(readonly url: string) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new CannotCheck("the address of a node starts with http:// or https://");
    }
  }

  async request(call: { method: string; params: unknown[] }): Promise<unknown> {
    const id = ++this.#id;
    const response = await fetch(this.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id, ...call }),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const answer = JSON.parse(await limitedText(response)) as { id?: unknown; result?: unknown; error?: unknown };
    if (answer === null || typeof answer !== "object" || answer.id !== id) throw new Error("this is no answer of JSON-RPC");
    if (answer.error !== undefined) throw answer.error;
    if (answer.result === undefined) throw new Error("an answer without result");
    return answer.result;
  }
}

async function limitedText(response: Response): Promise<string> {
  const bytes = await limitedBytes(response, MAX_ANSWER_BYTES);
  if (bytes === null) throw new Error("the answer is too long");
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return new TextDecoder().decode(bytes);
}

/** Asks one node, and reads its answers. Every failure is a `CannotCheck`: a node's silence says nothing about a record. */
export class Chain {
  private constructor(
    private readonly provider: Provider,
    readonly chainId: number,
  ) {}

  /**
   * Ask a node which chain it is on.
   *
   * @throws CannotCheck: no usable answer, or a chain on which the registry cannot be read.
   */
  static async connect(provider: Provider): Promise<Chain> {
    const chainId = quantity(await ask(provider, "eth_chainId", []), "eth_chainId");
    if (PARENT_NUMBERED.includes(chainId)) {
      throw new CannotCheck(`on ${chainName(chainId)} contracts are told the block numbers of another chain`);
    }
    return new Chain(provider, chainId);
  }

  ask(method: string, ...params: unknown[]): Promise<unknown> {
    return ask(this.provider, method, params);
  }

  /** Check that the node is still on the chain that it was on when it was connected. */
  async requireSameChain(): Promise<void> {
    const now = quantity(await this.ask("eth_chainId"), "eth_chainId");
    if (now !== this.chainId) throw new CannotCheck(`the node is on ${chainName(now)} now, not on ${chainName(this.chainId)}`);
  }

  async blockNumber(): Promise<number> {
    return quantity(await this.ask("eth_blockNumber"), "eth_blockNumber");
  }

  /** The block of this number or tag in the chain, or null where there is none. */
  async block(which: number | "finalized"): Promise<Block | null> {
    const answer = await this.ask("eth_getBlockByNumber", typeof which === "number" ? hexOf(which) : which, false);
    if (answer === null) return null;
    const { number, hash, timestamp } = fieldsOf(answer, "a block");
    const found = { number: quantity(number, "a block"), hash: hashText(hash), timestamp: quantity(timestamp, "a block") };
    if (typeof which === "number" && found.number !== which) throw new CannotCheck("the node answers with another block than asked");
    return found;
  }

  /** Number of the newest block that counts as final; below zero where none does. */
  async finalNumber(): Promise<number> {
    if (DEVELOPMENT.includes(this.chainId)) return this.blockNumber();
    return (await this.block("finalized"))?.number ?? -1;
  }
}

async function ask(provider: Provider, method: string, params: unknown[]): Promise<unknown> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), TIMEOUT_MS);
  });
  try {
    return await Promise.race([provider.request({ method, params }), late]);
  } catch (error) {
    throw new CannotCheck(`the node does not answer ${method}: ${reasonOf(error)}`);
  } finally {
    clearTimeout(timer);
  }
}

function reasonOf(error: unknown): string {
  const message = (error as { message?: unknown } | null)?.message;
  return short(typeof message === "string" ? message : "an error without a message");
}

/** Write a number as JSON-RPC does. */
export function hexOf(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Read an integer below 2^53. */
export function quantity(answer: unknown, what: string): number {
  const value = typeof answer === "string" && /^0x[0-9a-f]{1,14}$/i.test(answer) ? Number(answer) : NaN;
  if (!Number.isSafeInteger(value)) throw new CannotCheck(`the node answers ${what} with something else than a number`);
  return value;
}

/** Read a hash of 32 bytes. */
export function hashText(answer: unknown): string {
  const formed = typeof answer === "string" && /^0x[0-9a-f]{64}$/i.test(answer);
  if (!formed) throw new CannotCheck("the node answers with something else than a hash");
  return answer.toLowerCase();
}

/** Read an object. */
export function fieldsOf(answer: unknown, what: string): Record<string, unknown> {
  const formed = typeof answer === "object" && answer !== null && !Array.isArray(answer);
  if (!formed) throw new CannotCheck(`the node answers with something else than ${what}`);
  return answer as Record<string, unknown>;
}
