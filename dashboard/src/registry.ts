// SPDX-License-Identifier: MIT

/**
 * What MRVRegistry has under an id (docs/contracts.md). Anyone can register any id: whose registration counts is the
 * visitor's to say, and where they say nothing, whoever first registered this very hash is named.
 */

import { CannotCheck, REGISTRY_CODE_HASHES, fromHex, hex, keccak256, secondsText, utf8 } from "verify-bundle";

import { Words, ZERO_ADDRESS, encodeCall } from "./abi.ts";
import { type Chain, fieldsOf, hashText, hexOf } from "./chain.ts";

const EVENT = `0x${hex(keccak256("MRVRegistered(bytes32,address,bytes32,string,uint256)"))}`;
const LAST_SECOND = 253402300799; // 9999-12-31
const ZERO_HASH = "0".repeat(64);

/** What an account registered: hash as 64 hexadecimal digits, time in UTC; `isExpected` is null where nobody was named. */
export interface Registration {
  submitter: string;
  hash: string;
  time: string;
  isExpected: boolean | null;
}

/** The registration of the record itself. */
export interface Match extends Registration {
  blockNumber: number;
  blockHash: string;
  transaction: string;
  isFinal: boolean;
}

export interface Registered {
  /** The record's own, by who counts; null where there is none. */
  match: Match | null;
  /** What else there is: by who counts, and by whoever registered the id first. */
  others: Registration[];
  firstSubmitter: string | null;
  submitters: number;
}

/** The contracts and accounts that the visitor named; addresses are lower-case with 0x. */
export interface Named {
  /** The registry; null where the visitor named none, so that no id is looked up. */
  address: string | null;
  /** MLProvenance on the same chain, which keeps what is not in the registry; or null. */
  provenance: string | null;
  /** Accounts whose registrations count; none for anybody's. */
  expected: readonly string[];
}

/** A registry contract on a chain. */
export interface Registry {
  chain: Chain;
  address: string;
  expected: readonly string[];
}

class Reader {
  constructor(
    private readonly registry: Registry,
    private readonly mrvId: string,
    private readonly block: number,
  ) {}

  async first(): Promise<{ hash: string; time: number; submitter: string }> {
    const words = await this.#call("getMRVHash(string)", 3);
    return { hash: words.bytes32(0), time: words.integer(1), submitter: words.address(2) };
  }

  async by(submitter: string): Promise<{ hash: string; time: number; blockNumber: number } | null> {
    const words = await this.#call("getMRVHashBy(address,string)", 3, submitter);
    const [hash, time, blockNumber] = [words.bytes32(0), words.integer(1), words.integer(2)];
    if (hash === ZERO_HASH) return null;
    const fits = time > 0 && time <= LAST_SECOND && blockNumber <= this.block;
    if (!fits) throw new CannotCheck("the registry's answers contradict each other: a record of a time or block that is not yet");
    return { hash, time, blockNumber };
  }

  async firstWith(hash: string): Promise<string | null> {
    const words = await this.#call("firstSubmitterOf(string,bytes32)", 2, undefined, hash);
    const submitter = words.address(0);
    return submitter === ZERO_ADDRESS ? null : submitter;
  }

  async isRegistered(hash: string): Promise<boolean> {
    return (await this.#call("verifyMRVHash(string,bytes32)", 1, undefined, hash)).flag(0);
  }

  async count(): Promise<number> {
    return (await this.#call("submitterCount(string)", 1)).integer(0);
  }

  async #call(signature: string, words: number, address?: string, hash?: string): Promise<Words> {
    const before = address === undefined ? [] : [{ address }];
    const after = hash === undefined ? [] : [{ bytes32: hash }];
    const data = encodeCall(signature, ...before, { string: this.mrvId }, ...after);
    const answer = await this.registry.chain.ask("eth_call", { to: this.registry.address, data }, hexOf(this.block));
    return new Words(answer, words, signature.split("(")[0]!);
  }
}

/**
 * Look an id up, all of it in the state of one block.
 *
 * @param hash - What the record should be, 64 hexadecimal digits; null where there is only an id.
 * @throws CannotCheck: no usable answer, no registry at the address, or answers that contradict each other.
 */
export async function findRegistered(registry: Registry, mrvId: string, hash: string | null): Promise<Registered> {
  const { chain, expected } = registry;
  const block = await chain.blockNumber();
  await requireRegistry(registry, block);
  const reader = new Reader(registry, mrvId, block);
  const [submitters, first, isRegistered] = await Promise.all([
    reader.count(), reader.first(), hash === null ? false : reader.isRegistered(hash),
  ]);
  if (submitters === 0) {
    requireSense(first.hash === ZERO_HASH && first.submitter === ZERO_ADDRESS && !isRegistered);
    return { match: null, others: [], firstSubmitter: null, submitters };
  }
  requireSense(first.hash !== ZERO_HASH && first.submitter !== ZERO_ADDRESS);
  const firstWith = hash === null ? null : await reader.firstWith(hash);
  requireSense((firstWith !== null) === isRegistered);
  const anybodys = firstWith === null ? [] : [firstWith];
  const asked = expected.length > 0 ? expected : anybodys;
  const [isExpected, isStranger] = expected.length > 0 ? [true, false] : [null, null];

  let match: Match | null = null;
  const others = new Map<string, Registration>();
  for (const submitter of asked) {
    const found = await reader.by(submitter);
    if (found === null) continue;
    const { hash: held, time: seconds, blockNumber } = found;
    const registration = { submitter, hash: held, time: timeOf(seconds), isExpected };
    if (held !== hash) others.set(submitter, registration);
    else match ??= { ...registration, ...(await placeOf(registry, mrvId, submitter, held, blockNumber, seconds)) };
  }
  requireSense(match === null || isRegistered);
  requireSense(expected.length > 0 || (match !== null) === isRegistered);
  const firstBy = await reader.by(first.submitter);
  requireSense(firstBy !== null && firstBy.hash === first.hash && firstBy.time === first.time);
  if (!asked.includes(first.submitter)) {
    const { submitter, hash: held, time } = first;
    others.set(submitter, { submitter, hash: held, time: timeOf(time), isExpected: isStranger });
  }
  await chain.requireSameChain();
  return { match, others: [...others.values()], firstSubmitter: first.submitter, submitters };
}

function requireSense(makesSense: boolean): void {
  if (!makesSense) throw new CannotCheck("the registry's answers contradict each other");
}

const timeOf = (seconds: number) => secondsText(new Date(seconds * 1000));

/** An address without the contract's very code would answer whatever its maker likes. */
async function requireRegistry({ chain, address }: Registry, block: number): Promise<void> {
  const code = await chain.ask("eth_getCode", address, hexOf(block));
  const formed = typeof code === "string" && /^0x(?:[0-9a-f]{2})*$/i.test(code);
  if (!formed) throw new CannotCheck("the node answers eth_getCode with something else than code");
  if (code === "0x") throw new CannotCheck(`there is no contract at ${address} on this chain`);
  const known = REGISTRY_CODE_HASHES.has(hex(keccak256(fromHex(code.slice(2).toLowerCase(), "code"))));
  if (!known) throw new CannotCheck(`at ${address} there is another contract than MRVRegistry`);
}

/** Where a registration was made: its block must have its time, and show its event. */
async function placeOf(
  { chain, address }: Registry, mrvId: string, submitter: string, hash: string, blockNumber: number, seconds: number,
): Promise<{ blockNumber: number; blockHash: string; transaction: string; isFinal: boolean }> {
  const topics = [EVENT, `0x${hex(keccak256(utf8(mrvId)))}`, `0x${submitter.slice(2).padStart(64, "0")}`, `0x${hash}`];
  const range = { fromBlock: hexOf(blockNumber), toBlock: hexOf(blockNumber) };
  const [block, logs, final] = await Promise.all([
    chain.block(blockNumber), chain.ask("eth_getLogs", { address, topics, ...range }), chain.finalNumber(),
  ]);
  if (block === null || block.timestamp !== seconds) throw new CannotCheck("the registry dates a record otherwise than its block");
  if (!Array.isArray(logs) || logs.length !== 1) throw new CannotCheck("the node does not show the event of a record");
  const log = fieldsOf(logs[0], "an event");
  const shown = Array.isArray(log.topics) && log.topics.length === 4 && log.topics.every((each, i) => hashText(each) === topics[i]);
  const inBlock = hashText(log.blockHash) === block.hash && log.removed !== true;
  const isOurs = typeof log.address === "string" && log.address.toLowerCase() === address;
  if (!shown || !inBlock || !isOurs) throw new CannotCheck("the node shows another event than the record's");
  return { blockNumber, blockHash: block.hash, transaction: hashText(log.transactionHash), isFinal: blockNumber <= final };
}
