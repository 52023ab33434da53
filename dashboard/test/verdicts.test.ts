// SPDX-License-Identifier: MIT

import { expect, test } from "vitest";
import { hex, sha256, utf8 } from "verify-bundle";

import { Chain } from "../src/chain.ts";
import { type RecordInput, type RecordReport, verifyRecord } from "../src/verify.ts";
import { ACCOUNTS, FakeChain, REGISTRY } from "./fake-chain.ts";
import { vectors } from "./vectors.ts";

interface Case {
  name: string;
  registrations: [string, string][];
  expected: string[];
  anchored_elsewhere: boolean;
  verdict: string;
}

const { cases } = vectors<{ cases: Case[] }>("verdicts.json");
const record = utf8(vectors<{ records: { text: string }[] }>("records.json").records[0]!.text);
const ID = "MRV-fc25ba52-f439-4834-be2b-2dbae1e03437";
const NOTHING = { blocks: new Map<string, string[]>(), logKeys: [], minWork: null };
const own = hex(sha256(record));
const hashes: Record<string, string> = { this: own, another: "an".padEnd(64, "0").replace(/n/, "a"), third: "3".repeat(64) };

type Asked = Pick<RecordInput, "chain" | "named">;
const NOBODY: Asked = { chain: null, named: { address: null, provenance: null, expected: [] } };

async function registry(node: FakeChain, expected: string[] = []): Promise<Asked> {
  const named = { address: REGISTRY, provenance: null, expected: expected.map((who) => ACCOUNTS[who]!).sort() };
  return { chain: await Chain.connect(node), named };
}

function verified(asked: Asked, bytes: Uint8Array = record, receipts: string | null = null): Promise<RecordReport> {
  const beside = receipts === null ? null : { name: "receipts", bytes: utf8(receipts) };
  return verifyRecord({ file: { name: "record", bytes }, mrvId: null, receipts: beside, samples: null, ...asked, trusted: NOTHING });
}

const PENDING = {
  format: "mrv-receipt/1", network: "bitcoin", driver: "bitcoin", network_id: "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", embedded: false,
  commitment: `sha256:${own}`, state: "PENDING", reference: "ab".repeat(32), submitted_at: "2026-01-11T08:00:00Z", block_time: null, evidence: {},
};
const receiptsOf = (commitment: string, receipts: object) =>
  JSON.stringify({ format: "mrv-record-receipts/1", mrv_id: ID, commitment: `sha256:${commitment}`, batch: null, receipts });

function registered(): FakeChain {
  const node = new FakeChain();
  node.register(ID, "author", own);
  return node;
}

test.each(cases)("$name", async ({ registrations, expected, anchored_elsewhere: elsewhere, verdict }) => {
  const node = new FakeChain();
  for (const [who, what] of registrations) node.register(ID, who, hashes[what]!);
  const receipts = elsewhere ? receiptsOf(own, { bitcoin: PENDING }) : null;
  expect((await verified(await registry(node, expected), record, receipts)).verdict).toBe(verdict);
});

test("one digit changed is TAMPERED", async () => {
  const changed = utf8(new TextDecoder().decode(record).replace('"co2e_mg":2', '"co2e_mg":1'));
  const report = await verified(await registry(registered()), changed);
  expect(report.verdict).toBe("TAMPERED");
  expect(report.findings.map(({ verdict, place }) => [verdict, place])).toEqual([["DISAGREE", "emissions.co2e_mg"], ["TAMPERED", "registry"]]);
});

test("without a chain and without receipts nothing could be checked", async () => {
  expect((await verified(NOBODY)).verdict).toBe("UNREACHABLE");
});

test("a registration whose block is not final is PENDING", async () => {
  const node = registered();
  node.chainId = 1;
  node.finalized = 0;
  expect((await verified(await registry(node))).verdict).toBe("PENDING");
  node.finalized = 1;
  expect((await verified(await registry(node))).verdict).toBe("VALID");
});

test("receipts of another record are TAMPERED, and an unreadable record that had receipts is", async () => {
  const node = registered();
  expect((await verified(await registry(node), record, receiptsOf("0".repeat(64), { bitcoin: { ...PENDING, commitment: `sha256:${"0".repeat(64)}` } }))).verdict).toBe("TAMPERED");
  expect((await verified(NOBODY, utf8("{"), receiptsOf(own, {}))).verdict).toBe("TAMPERED");
});

test("a record under another id is TAMPERED where that id has its hash", async () => {
  const node = new FakeChain();
  node.register("MRV-other", "author", own);
  const asked = await registry(node);
  const input = { file: { name: "record", bytes: record }, mrvId: "MRV-other", receipts: null, samples: null, ...asked, trusted: NOTHING };
  expect((await verifyRecord(input)).verdict).toBe("TAMPERED");
  expect((await verifyRecord({ ...input, mrvId: "MRV-unknown" })).verdict).toBe("NOT_FOUND");
});

const LIES: [string, FakeChain["lie"]][] = [
  ["no answer", () => new Error("gone")],
  ["an error without a message", () => Object.assign(new Error(), { message: undefined })],
  ["null", () => null],
  ["a text", (method, _params, answer) => (method === "eth_call" ? "<html>" : answer)],
  ["too few words", (method, _params, answer) => (method === "eth_call" ? (answer as string).slice(0, -64) : answer)],
  ["ones everywhere", (method, _params, answer) => (method === "eth_call" ? `0x${"f".repeat((answer as string).length - 2)}` : answer)],
  ["no code", (method, _params, answer) => (method === "eth_getCode" ? "0x" : answer)],
  ["other code", (method, _params, answer) => (method === "eth_getCode" ? "0x6001" : answer)],
  ["no events", (method, _params, answer) => (method === "eth_getLogs" ? [] : answer)],
  ["another event", (method, _params, answer) => (method === "eth_getLogs" ? [{ ...(answer as object[])[0], topics: [] }] : answer)],
  ["another block's time", (method, _params, answer) => (method === "eth_getBlockByNumber" ? { ...(answer as object), timestamp: "0x1" } : answer)],
  ["another block", (method, _params, answer) => (method === "eth_getBlockByNumber" ? { ...(answer as object), number: "0x9" } : answer)],
  ["no block", (method, _params, answer) => (method === "eth_getBlockByNumber" ? null : answer)],
  ["a block number that is none", (method, _params, answer) => (method === "eth_blockNumber" ? "latest" : answer)],
  ["nobody, and yet the hash", (method, params, answer) => (method === "eth_call" && (params[0] as { data: string }).data.length < 300 && (answer as string).length === 66 ? `0x${"0".repeat(64)}` : answer)],
];

test.each(LIES)("a node that answers %s is never believed", async (_name, lie) => {
  const node = registered();
  const asked = await registry(node);
  node.lie = lie;
  expect((await verified(asked)).verdict).toBe("UNREACHABLE");
});

test("a node that says somebody registered it, and cannot say who, is never believed", async () => {
  const node = new FakeChain();
  node.register(ID, "squatter", hashes.another!);
  const asked = await registry(node, ["author"]);
  node.lie = (method, _params, answer) => (method === "eth_call" && answer === `0x${"0".repeat(64)}` ? `0x${"1".padStart(64, "0")}` : answer);
  expect((await verified(asked)).verdict).toBe("UNREACHABLE");
});

test("a node that changes its chain is never believed", async () => {
  const node = registered();
  const asked = await registry(node);
  node.chainId = 1;
  expect((await verified(asked)).verdict).toBe("UNREACHABLE");
});

test("a chain whose contracts are told another chain's block numbers is refused", async () => {
  const node = registered();
  node.chainId = 42161;
  await expect(registry(node)).rejects.toThrow("Arbitrum One");
});
