// SPDX-License-Identifier: MIT

/** Types of what scripts/verify_bundle.mjs exports; vite.config.ts resolves the name. */
declare module "verify-bundle" {
  import { Buffer } from "node:buffer";

  /** A parsed JSON value; objects are Maps, in which no name is special. */
  export type Json = null | boolean | number | string | Json[] | Map<string, Json>;
  export type Reader<T> = (value: Json, what: string) => T;
  export type Verdict = "VALID" | "TAMPERED" | "DISAGREE" | "NOT_FOUND" | "UNREACHABLE" | "PENDING";
  export interface Digest {
    algorithm: string;
    bytes: Buffer;
    text: string;
  }
  export interface Receipt {
    network: string;
    driver: string;
    network_id: string;
    embedded: boolean;
    commitment: Digest;
    state: "PENDING" | "INCLUDED" | "FINAL";
    reference: string;
    submitted_at: string;
    block_time: string | null;
    evidence: Map<string, Json>;
  }
  export interface BatchProof {
    member: Digest;
    index: number;
    size: number;
    path: Buffer[];
    batch: Digest;
  }
  export interface NetworkResult {
    network: string;
    driver: string;
    network_id: string;
    reference: string;
    verdict: Verdict;
    state: string;
    detail: string;
    block_hash: string | null;
    block_time: string | null;
    remaining: string[];
    trusts: string[];
    facts: Record<string, string | number>;
  }
  export interface Step {
    number: number;
    name: string;
    verdict: Verdict | null;
    detail: string;
  }
  /** What the verifier knows from elsewhere: block hashes by network id (or "" for any), keys of logs, work in bits. */
  export interface Trusted {
    blocks: Map<string, string[]>;
    logKeys: string[];
    minWork: number | null;
  }
  export interface Options {
    root: string | null;
    networks: string[] | null;
    trusted: Trusted;
  }
  export interface BundleResult {
    verdict: Verdict;
    summary: string;
    run_id?: string;
    phase?: string;
    root?: string;
    anchored?: string;
    leaf?: { path: string; kind: string; digest: string | null } | null;
    steps: Step[];
    networks: NetworkResult[];
  }

  /** Checked, and wrong; malformed documents are wrong documents. */
  export class Wrong extends Error {}
  /** Could not be checked. */
  export class CannotCheck extends Error {}
  /** A wrong argument, or no document of this version. */
  export class Usage extends Error {}
  /** Strict JSON (docs/spec/json.md); `numeric` makes the value of a number. */
  export class JsonReader {
    numeric(value: number, isInteger: boolean): Json;
  }
  export const MAX_BUNDLE_BYTES: number;
  export const REGISTRY_CODE_HASHES: ReadonlySet<string>;
  export function demand(condition: boolean, message: string): asserts condition;
  export function parseJson(bytes: Uint8Array, what: string, maxBytes?: number, reader?: typeof JsonReader): Json;
  export function canonicalBytes(value: Json): Buffer;
  export function record<T>(value: Json, what: string, fields: object, optional?: object): T;
  export function constant<T>(expected: T): Reader<T>;
  export function oneOf<T extends string>(...names: T[]): Reader<T>;
  export function integer(from: number, to: number): Reader<number>;
  export function list<T>(item: Reader<T>, most?: number): Reader<T[]>;
  export function orNull<T>(read: Reader<T>): Reader<T | null>;
  export function mapping<T>(read: Reader<T>): Reader<Map<string, T>>;
  export const anything: Reader<Json>;
  export const batchProof: Reader<BatchProof>;
  export const digest: Reader<Digest>;
  export const object: Reader<Map<string, Json>>;
  export const receipt: Reader<Receipt>;
  export const text: Reader<string>;
  export const time: Reader<string>;
  export const inclusionProof: Reader<{ root: Digest }>;
  export function checkInclusionProof(proof: { root: Digest }, root: Digest): void;
  export function checkBatchProof(proof: BatchProof, root: Digest): void;
  export function combine(required: Verdict[], others: Verdict[]): Verdict;
  export function examine(network: string, one: Receipt, commitment: Digest, trusted: Trusted): NetworkResult;
  export function verifyBundle(bytes: Uint8Array, name: string, options: Options): BundleResult;
  export function readOptions(found: Record<string, string[]>): Options;
  export function worst(verdicts: readonly Verdict[]): Verdict | null;
  export function fromHex(text: string, what: string): Buffer;
  export function hex(bytes: Uint8Array): string;
  export function keccak256(...parts: (Uint8Array | string)[]): Buffer;
  export function leafHash(entry: Uint8Array): Buffer;
  export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer;
  export function rootFromInclusion(leaf: Uint8Array, index: number | bigint, size: number | bigint, path: Uint8Array[]): Buffer;
  export function same(left: Uint8Array, right: Uint8Array): boolean;
  export function secondsText(date: Date): string;
  export function sha256(...parts: (Uint8Array | string)[]): Buffer;
  export function short(text: string, length?: number): string;
  export function utf8(text: string): Buffer;
}
