// SPDX-License-Identifier: MIT

/** Calls and answers of contracts as hexadecimal text (Solidity ABI specification), as strictly as an answer can be read. */

import { CannotCheck, keccak256, utf8 } from "verify-bundle";

export const ZERO_ADDRESS = `0x${"0".repeat(40)}`;

type Argument = { string: string } | { bytes32: string } | { address: string };

/** Return the data of a call; `bytes32` is 64 hexadecimal digits, `address` starts with 0x. */
export function encodeCall(signature: string, ...values: Argument[]): string {
  const heads: string[] = [];
  let tail = "";
  for (const value of values) {
    if ("bytes32" in value) heads.push(value.bytes32);
    else if ("address" in value) heads.push(value.address.slice(2).toLowerCase().padStart(64, "0"));
    else {
      const bytes = utf8(value.string);
      heads.push(word(32 * values.length + tail.length / 2));
      tail += word(bytes.length) + bytes.toString("hex").padEnd(64 * Math.ceil(bytes.length / 32), "0");
    }
  }
  return `0x${keccak256(signature).subarray(0, 4).toString("hex")}${heads.join("")}${tail}`;
}

const word = (value: number) => value.toString(16).padStart(64, "0");

/** Reads the words of one answer; anything but exactly so many words is no answer. */
export class Words {
  readonly #words: string[];

  /** @throws CannotCheck: not so many words. */
  constructor(answer: unknown, count: number, readonly what: string) {
    const formed = typeof answer === "string" && /^0x[0-9a-f]*$/i.test(answer) && answer.length === 2 + 64 * count;
    if (!formed) throw new CannotCheck(`the node answers ${what} with something else than ${count} words of a contract`);
    this.#words = Array.from({ length: count }, (_, i) => answer.slice(2 + 64 * i, 66 + 64 * i).toLowerCase());
  }

  /** The word itself, 64 hexadecimal digits. */
  bytes32(index: number): string {
    return this.#words[index]!;
  }

  /** An address, lower-case with 0x. */
  address(index: number): string {
    const digits = this.bytes32(index);
    if (!digits.startsWith("0".repeat(24))) throw new CannotCheck(`the node answers ${this.what} with no address`);
    return `0x${digits.slice(24)}`;
  }

  /** An unsigned integer below 2^53. */
  integer(index: number): number {
    const value = Number(BigInt(`0x${this.bytes32(index)}`));
    if (!Number.isSafeInteger(value)) throw new CannotCheck(`the node answers ${this.what} with a number beyond 2^53-1`);
    return value;
  }

  flag(index: number): boolean {
    const value = BigInt(`0x${this.bytes32(index)}`);
    if (value > 1n) throw new CannotCheck(`the node answers ${this.what} with neither true nor false`);
    return value === 1n;
  }
}
