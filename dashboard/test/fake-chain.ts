// SPDX-License-Identifier: MIT

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { hex, keccak256, utf8 } from "verify-bundle";

import type { Provider } from "../src/chain.ts";

export const REGISTRY = `0x${"5f".repeat(20)}`;
export const ACCOUNTS: Record<string, string> = { author: `0x${"a1".repeat(20)}`, squatter: `0x${"b2".repeat(20)}` };
const compiled = resolve(import.meta.dirname, "../../mrv_backends_eth/compiled/MRVRegistry.json");
const CODE = (JSON.parse(readFileSync(compiled, "utf8")) as { deployedBytecode: string }).deployedBytecode;

const word = (value: number | string) => (typeof value === "number" ? value.toString(16) : value.replace(/^0x/, "")).padStart(64, "0");
const selector = (signature: string) => `0x${hex(keccak256(signature).subarray(0, 4))}`;

/** A node with MRVRegistry on it, kept in memory: registrations come one a block, from block 1 on. */
export class FakeChain implements Provider {
  readonly asked: string[] = [];
  chainId = 31337;
  finalized = Infinity;
  code = CODE;
  /** Answers instead, where it returns anything. */
  lie: (method: string, params: unknown[], answer: unknown) => unknown = (_method, _params, answer) => answer;
  private readonly registrations: { id: string; submitter: string; hash: string }[] = [];

  register(id: string, who: string, hash: string): void {
    this.registrations.push({ id, submitter: ACCOUNTS[who]!, hash });
  }

  async request({ method, params }: { method: string; params: unknown[] }): Promise<unknown> {
    this.asked.push(method);
    const answer = this.lie(method, params, this.#answer(method, params));
    if (answer instanceof Error) throw answer;
    return answer;
  }

  #answer(method: string, params: unknown[]): unknown {
    const head = this.registrations.length;
    if (method === "eth_chainId") return `0x${this.chainId.toString(16)}`;
    if (method === "eth_blockNumber") return `0x${head.toString(16)}`;
    if (method === "eth_getCode") return params[0] === REGISTRY ? this.code : "0x";
    if (method === "eth_getBlockByNumber") return params[0] === "finalized" ? block(Math.min(this.finalized, head)) : block(Number(params[0]));
    if (method === "eth_getLogs") return this.#logs(params[0] as { topics: string[]; fromBlock: string });
    if (method === "eth_call") return this.#call((params[0] as { data: string }).data);
    return new Error(`no method ${method}`);
  }

  #of(key: string): { number: number; submitter: string; hash: string }[] {
    return this.registrations.flatMap(({ id, ...rest }, i) => (hex(keccak256(utf8(id))) === key ? [{ ...rest, number: i + 1 }] : []));
  }

  #logs({ topics, fromBlock }: { topics: string[]; fromBlock: string }): unknown[] {
    const found = this.#of(topics[1]!.slice(2)).filter(({ number }) => number === Number(fromBlock));
    return found.map(({ number }) => ({
      address: REGISTRY, topics, blockHash: hashOfBlock(number), transactionHash: `0x${"7a".repeat(32)}`, removed: false,
    }));
  }

  #call(data: string): string {
    const words = data.slice(10).match(/.{64}/g)!;
    const place = words.findIndex((each) => [32, 64].includes(Number(BigInt(`0x${each}`))));
    const start = Number(BigInt(`0x${words[place]!}`)) / 32;
    const length = Number(BigInt(`0x${words[start]!}`));
    const id = Buffer.from(words.slice(start + 1).join(""), "hex").subarray(0, length).toString();
    const known = this.#of(hex(keccak256(utf8(id))));
    const first = known[0];
    const other = words[1 - place]!;
    const answers: Record<string, () => (number | string)[]> = {
      [selector("submitterCount(string)")]: () => [new Set(known.map(({ submitter }) => submitter)).size],
      [selector("getMRVHash(string)")]: () => (first ? [first.hash, timeOf(first.number), first.submitter] : [0, 0, 0]),
      [selector("verifyMRVHash(string,bytes32)")]: () => [Number(known.some(({ hash }) => hash === other))],
      [selector("firstSubmitterOf(string,bytes32)")]: () => {
        const found = known.find(({ hash }) => hash === other);
        return found ? [found.submitter, timeOf(found.number)] : [0, 0];
      },
      [selector("getMRVHashBy(address,string)")]: () => {
        const found = known.find(({ submitter }) => word(submitter) === other);
        return found ? [found.hash, timeOf(found.number), found.number] : [0, 0, 0];
      },
    };
    return `0x${answers[data.slice(0, 10)]!().map(word).join("")}`;
  }
}

const timeOf = (number: number) => 1_768_118_400 + 12 * number;
const hashOfBlock = (number: number) => `0x${word(number).replace(/^00/, "bb")}`;
const block = (number: number) => ({ number: `0x${number.toString(16)}`, hash: hashOfBlock(number), timestamp: `0x${timeOf(number).toString(16)}` });
