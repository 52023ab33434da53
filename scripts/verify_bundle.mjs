#!/usr/bin/env node
// SPDX-License-Identifier: MIT
// Verifies bundles without Python, without a network and without any package: a second implementation of
// docs/spec/bundle.md, written from that page, which reaches the verdict of `mrv verify --offline`.
//
//   node verify_bundle.mjs results.mrv.json
//   node verify_bundle.mjs results.mrv.json --block eip155:1:0x… --log-key name+id+key --min-work 76 --root sha256:…
//   node verify_bundle.mjs --json a.mrv.json b.mrv.json      one JSON line a file
//
// What stands above the command line needs nothing but the two modules imported here, so that the dashboard takes it
// as it is, with its own in their place (dashboard/vite.config.ts).
//
// Node.js 18 or newer. Exit status: 0 valid, 1 tampered or disagree, 2 usage, 3 pending, 4 could not check,
// 5 not found; of several files the first of 1, 2, 5, 4, 3, 0 that any of them has.

import { Buffer } from "node:buffer";
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";

const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;
const MAX_JSON_BYTES = 64 * 1024 * 1024;
const MAX_DEPTH = 64;
const MAX_TREE_SIZE = (1n << 63n) - 1n;

/** Something was checked and is wrong; malformed evidence is wrong evidence. */
class Wrong extends Error {}
/** A wrong argument, or a file that is no bundle of this version. */
class Usage extends Error {}
/** Something could not be checked, or a file could not be read. */
class CannotCheck extends Error {}

function demand(condition, message) {
  if (!condition) throw new Wrong(message);
}

// --- bytes ------------------------------------------------------------------------------------------------------

const ascii = (text) => Buffer.from(text, "latin1");
const utf8 = (text) => Buffer.from(text, "utf8");
const concat = (...parts) => Buffer.concat(parts.map((part) => (typeof part === "string" ? ascii(part) : part)));
const same = (left, right) => Buffer.compare(left, right) === 0;
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const reversed = (bytes) => Buffer.from(bytes).reverse();

/** Read an even number of lower-case hexadecimal digits. */
function fromHex(text, what) {
  demand(text.length % 2 === 0 && !/[^0-9a-f]/.test(text), `${what}: not lower-case hexadecimal`);
  return Buffer.from(text, "hex");
}

function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Bytes behind their length, as docs/spec/merkle.md writes it: lp(x). */
const lengthPrefixed = (bytes) => concat(u64(bytes.length), bytes);

/** Standard base64 with padding; exactly one text for each value. */
function fromBase64(text, what) {
  const bytes = Buffer.from(text, "base64");
  demand(bytes.toString("base64") === text, `${what}: not the one base64 form of its bytes`);
  return bytes;
}

function short(text, length = 200) {
  return JSON.stringify(String(text).slice(0, length));
}

// --- hashes -----------------------------------------------------------------------------------------------------

const sha256 = (...parts) => createHash("sha256").update(concat(...parts)).digest();
const doubleSha256 = (...parts) => sha256(sha256(...parts));

const KECCAK_ROTATIONS = [
  0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14,
];
const KECCAK_ROUND_CONSTANTS = keccakRoundConstants();

/** FIPS 202, section 3.2.5: the constants of iota, as pairs of low and high words. */
function keccakRoundConstants() {
  const constantsOfRounds = [];
  let register = 1;
  for (let round = 0; round < 24; round++) {
    let value = 0n;
    for (let j = 0; j < 7; j++) {
      if (register & 1) value |= 1n << BigInt((1 << j) - 1);
      register = register & 0x80 ? ((register << 1) ^ 0x171) & 0xff : register << 1;
    }
    constantsOfRounds.push([Number(value & 0xffffffffn) | 0, Number(value >> 32n) | 0]);
  }
  return constantsOfRounds;
}

/** Keccak-f[1600] on 25 lanes, each a low and a high word. */
function keccakPermutation(low, high) {
  const columnLow = new Int32Array(5);
  const columnHigh = new Int32Array(5);
  const nextLow = new Int32Array(25);
  const nextHigh = new Int32Array(25);
  for (const [constantLow, constantHigh] of KECCAK_ROUND_CONSTANTS) {
    for (let x = 0; x < 5; x++) {
      columnLow[x] = low[x] ^ low[x + 5] ^ low[x + 10] ^ low[x + 15] ^ low[x + 20];
      columnHigh[x] = high[x] ^ high[x + 5] ^ high[x + 10] ^ high[x + 15] ^ high[x + 20];
    }
    for (let x = 0; x < 5; x++) {
      const left = (x + 4) % 5;
      const right = (x + 1) % 5;
      const changeLow = columnLow[left] ^ ((columnLow[right] << 1) | (columnHigh[right] >>> 31));
      const changeHigh = columnHigh[left] ^ ((columnHigh[right] << 1) | (columnLow[right] >>> 31));
      for (let y = 0; y < 25; y += 5) {
        low[x + y] ^= changeLow;
        high[x + y] ^= changeHigh;
      }
    }
    for (let x = 0; x < 5; x++) {
      for (let y = 0; y < 5; y++) {
        const from = x + 5 * y;
        const to = y + 5 * ((2 * x + 3 * y) % 5);
        const by = KECCAK_ROTATIONS[from];
        const [a, b] = by < 32 ? [low[from], high[from]] : [high[from], low[from]];
        const shift = by % 32;
        nextLow[to] = shift ? (a << shift) | (b >>> (32 - shift)) : a;
        nextHigh[to] = shift ? (b << shift) | (a >>> (32 - shift)) : b;
      }
    }
    for (let y = 0; y < 25; y += 5) {
      for (let x = 0; x < 5; x++) {
        const next = y + ((x + 1) % 5);
        const afterNext = y + ((x + 2) % 5);
        low[x + y] = nextLow[x + y] ^ (~nextLow[next] & nextLow[afterNext]);
        high[x + y] = nextHigh[x + y] ^ (~nextHigh[next] & nextHigh[afterNext]);
      }
    }
    low[0] ^= constantLow;
    high[0] ^= constantHigh;
  }
}

/** Keccak-256 as Ethereum uses it: the padding is 0x01, where SHA3-256 has 0x06. */
function keccak256(...parts) {
  const rate = 136;
  const data = concat(...parts);
  const padded = Buffer.alloc((Math.floor(data.length / rate) + 1) * rate);
  data.copy(padded);
  padded[data.length] ^= 0x01;
  padded[padded.length - 1] ^= 0x80;
  const low = new Int32Array(25);
  const high = new Int32Array(25);
  for (let block = 0; block < padded.length; block += rate) {
    for (let lane = 0; lane < rate / 8; lane++) {
      low[lane] ^= padded.readInt32LE(block + 8 * lane);
      high[lane] ^= padded.readInt32LE(block + 8 * lane + 4);
    }
    keccakPermutation(low, high);
  }
  const digest = Buffer.alloc(32);
  for (let lane = 0; lane < 4; lane++) {
    digest.writeInt32LE(low[lane], 8 * lane);
    digest.writeInt32LE(high[lane], 8 * lane + 4);
  }
  return digest;
}

const RIPEMD_LEFT = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8],
  [3, 10, 14, 4, 9, 15, 8, 1, 2, 7, 0, 6, 13, 11, 5, 12], [1, 9, 11, 10, 0, 8, 12, 4, 13, 3, 7, 15, 14, 5, 6, 2],
  [4, 0, 5, 9, 7, 12, 2, 10, 14, 1, 3, 8, 11, 6, 15, 13],
];
const RIPEMD_RIGHT = [
  [5, 14, 7, 0, 9, 2, 11, 4, 13, 6, 15, 8, 1, 10, 3, 12], [6, 11, 3, 7, 0, 13, 5, 10, 14, 15, 8, 12, 4, 9, 1, 2],
  [15, 5, 1, 3, 7, 14, 6, 9, 11, 8, 12, 2, 10, 0, 4, 13], [8, 6, 4, 1, 3, 11, 15, 0, 5, 12, 2, 13, 9, 7, 10, 14],
  [12, 15, 10, 4, 1, 5, 8, 7, 6, 2, 13, 14, 0, 3, 9, 11],
];
const RIPEMD_LEFT_SHIFTS = [
  [11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8], [7, 6, 8, 13, 11, 9, 7, 15, 7, 12, 15, 9, 11, 7, 13, 12],
  [11, 13, 6, 7, 14, 9, 13, 15, 14, 8, 13, 6, 5, 12, 7, 5], [11, 12, 14, 15, 14, 15, 9, 8, 9, 14, 5, 6, 8, 6, 5, 12],
  [9, 15, 5, 11, 6, 8, 13, 12, 5, 12, 13, 14, 11, 8, 5, 6],
];
const RIPEMD_RIGHT_SHIFTS = [
  [8, 9, 9, 11, 13, 15, 15, 5, 7, 7, 8, 11, 14, 14, 12, 6], [9, 13, 15, 7, 12, 8, 9, 11, 7, 7, 12, 7, 6, 15, 13, 11],
  [9, 7, 15, 11, 8, 6, 6, 14, 12, 13, 5, 14, 13, 13, 7, 5], [15, 5, 8, 11, 14, 14, 6, 14, 6, 9, 12, 9, 12, 5, 15, 8],
  [8, 5, 12, 9, 12, 5, 14, 6, 8, 13, 6, 5, 15, 13, 11, 11],
];
const RIPEMD_LEFT_CONSTANTS = [0, 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xa953fd4e];
const RIPEMD_RIGHT_CONSTANTS = [0x50a28be6, 0x5c4dd124, 0x6d703ef3, 0x7a6d76e9, 0];
const RIPEMD_MIXERS = [
  (x, y, z) => x ^ y ^ z,
  (x, y, z) => (x & y) | (~x & z),
  (x, y, z) => (x | ~y) ^ z,
  (x, y, z) => (x & z) | (y & ~z),
  (x, y, z) => x ^ (y | ~z),
];

/** RIPEMD-160 (Dobbertin, Bosselaers, Preneel 1996), which a build of Node.js may lack. */
function ripemd160(message) {
  const padded = Buffer.alloc(64 * Math.ceil((message.length + 9) / 64));
  message.copy(padded);
  padded[message.length] = 0x80;
  padded.writeUInt32LE(message.length * 8, padded.length - 8); // no message here has 2^29 bytes
  const rotate = (value, by) => (value << by) | (value >>> (32 - by));
  const line = (words, h, order, shifts, constants, mixer) => {
    let [a, b, c, d, e] = h;
    for (let i = 0; i < 80; i++) {
      const round = i >> 4;
      const sum = a + RIPEMD_MIXERS[mixer(round)](b, c, d) + words[order[round][i & 15]] + constants[round];
      const next = (rotate(sum | 0, shifts[round][i & 15]) + e) | 0;
      [a, e, d, c, b] = [e, d, rotate(c, 10), b, next];
    }
    return [a, b, c, d, e];
  };
  let h = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0].map((word) => word | 0);
  for (let block = 0; block < padded.length; block += 64) {
    const words = Array.from({ length: 16 }, (_, i) => padded.readInt32LE(block + 4 * i));
    const left = line(words, h, RIPEMD_LEFT, RIPEMD_LEFT_SHIFTS, RIPEMD_LEFT_CONSTANTS, (round) => round);
    const right = line(words, h, RIPEMD_RIGHT, RIPEMD_RIGHT_SHIFTS, RIPEMD_RIGHT_CONSTANTS, (round) => 4 - round);
    h = h.map((_, i) => (h[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) | 0);
  }
  const digest = Buffer.alloc(20);
  h.forEach((word, i) => digest.writeInt32LE(word, 4 * i));
  return digest;
}

const BLAKE_IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const BLAKE2_SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
// Columns and diagonals of the state, on which both BLAKE2 and BLAKE3 mix.
const BLAKE_QUARTERS = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];

/** BLAKE2b with 32 bytes of output (RFC 7693), which is another function than a shortened BLAKE2b-512. */
function blake2b256(data) {
  const mask = (1n << 64n) - 1n;
  const rotate = (value, by) => (value >> by) | ((value << (64n - by)) & mask);
  const h = [...BLAKE_IV];
  h[0] ^= 0x01010020n; // no key, digest of 32 bytes
  const blocks = Math.max(1, Math.ceil(data.length / 128));
  for (let block = 0; block < blocks; block++) {
    const end = Math.min(data.length, 128 * (block + 1));
    const words = Buffer.alloc(128);
    data.copy(words, 0, 128 * block, end);
    const v = [...h, ...BLAKE_IV];
    v[12] ^= BigInt(end);
    if (block === blocks - 1) v[14] ^= mask;
    for (let round = 0; round < 12; round++) {
      const order = BLAKE2_SIGMA[round % 10];
      BLAKE_QUARTERS.forEach(([a, b, c, d], i) => {
        const [x, y] = [order[2 * i], order[2 * i + 1]].map((word) => words.readBigUInt64LE(8 * word));
        v[a] = (v[a] + v[b] + x) & mask;
        v[d] = rotate(v[d] ^ v[a], 32n);
        v[c] = (v[c] + v[d]) & mask;
        v[b] = rotate(v[b] ^ v[c], 24n);
        v[a] = (v[a] + v[b] + y) & mask;
        v[d] = rotate(v[d] ^ v[a], 16n);
        v[c] = (v[c] + v[d]) & mask;
        v[b] = rotate(v[b] ^ v[c], 63n);
      });
    }
    for (let i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
  }
  const digest = Buffer.alloc(32);
  for (let i = 0; i < 4; i++) digest.writeBigUInt64LE(h[i], 8 * i);
  return digest;
}

const BLAKE3_IV = BLAKE_IV.map((word) => Number(word >> 32n) | 0); // the upper halves are SHA-256's initial values
const BLAKE3_PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const [CHUNK_START, CHUNK_END, PARENT, ROOT] = [1, 2, 4, 8];

/** The compression function of BLAKE3 (specification, section 2.2); returns the first eight words. */
function blake3Compress(chaining, block, counter, length, flags) {
  const v = new Int32Array(16);
  v.set(chaining);
  v.set(BLAKE3_IV.slice(0, 4), 8);
  v.set([counter | 0, Math.floor(counter / 2 ** 32) | 0, length, flags], 12);
  const rotate = (value, by) => (value >>> by) | (value << (32 - by));
  let message = block;
  for (let round = 0; round < 7; round++) {
    BLAKE_QUARTERS.forEach(([a, b, c, d], i) => {
      v[a] = v[a] + v[b] + message[2 * i];
      v[d] = rotate(v[d] ^ v[a], 16);
      v[c] = v[c] + v[d];
      v[b] = rotate(v[b] ^ v[c], 12);
      v[a] = v[a] + v[b] + message[2 * i + 1];
      v[d] = rotate(v[d] ^ v[a], 8);
      v[c] = v[c] + v[d];
      v[b] = rotate(v[b] ^ v[c], 7);
    });
    message = BLAKE3_PERMUTATION.map((word) => message[word]);
  }
  return Array.from({ length: 8 }, (_, i) => v[i] ^ v[i + 8]);
}

function blake3Words(data) {
  const block = Buffer.alloc(64);
  data.copy(block);
  return Array.from({ length: 16 }, (_, i) => block.readInt32LE(4 * i));
}

/** Chaining value of a subtree over whole chunks (section 2.1); the left part has the largest power of two of them. */
function blake3Node(data, chunk, root) {
  if (data.length <= 1024) {
    const blocks = Math.max(1, Math.ceil(data.length / 64));
    let chaining = BLAKE3_IV;
    for (let i = 0; i < blocks; i++) {
      const block = data.subarray(64 * i, 64 * (i + 1));
      const last = i === blocks - 1;
      const flags = (i === 0 ? CHUNK_START : 0) | (last ? CHUNK_END | root : 0);
      chaining = blake3Compress(chaining, blake3Words(block), chunk, block.length, flags);
    }
    return chaining;
  }
  let left = 1024;
  while (2 * left < data.length) left *= 2;
  const children = [
    ...blake3Node(data.subarray(0, left), chunk, 0),
    ...blake3Node(data.subarray(left), chunk + left / 1024, 0),
  ];
  return blake3Compress(BLAKE3_IV, children, 0, 64, PARENT | root);
}

function blake3(data) {
  const digest = Buffer.alloc(32);
  blake3Node(data, 0, ROOT).forEach((word, i) => digest.writeInt32LE(word, 4 * i));
  return digest;
}

const ALGORITHMS = new Map([
  ["blake2b-256", blake2b256],
  ["blake3", blake3],
  ["sha256", (data) => sha256(data)],
  ["sha3-256", (data) => createHash("sha3-256").update(data).digest()],
]);

// --- JSON: docs/spec/json.md ------------------------------------------------------------------------------------

const SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;

/** A strict parser: objects become Maps, in which no name appears twice and none is special. */
class JsonReader {
  constructor(text, what) {
    this.text = text;
    this.what = what;
    this.position = 0;
  }

  read() {
    const value = this.value(0);
    this.take(SPACE);
    if (this.position !== this.text.length) this.fail("not JSON: something follows the document");
    return value;
  }

  fail(reason) {
    throw new Wrong(`${this.what}: ${reason} at character ${this.position}`);
  }

  take(pattern) {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.text);
    if (match !== null) this.position = pattern.lastIndex;
    return match;
  }

  accept(character) {
    this.take(SPACE);
    if (this.text[this.position] !== character) return false;
    this.position += 1;
    return true;
  }

  value(depth) {
    this.take(SPACE);
    for (const [word, value] of [["null", null], ["true", true], ["false", false]]) {
      if (this.text.startsWith(word, this.position)) {
        this.position += word.length;
        return value;
      }
    }
    if (this.text[this.position] === '"') return this.string();
    if (depth === MAX_DEPTH && /[[{]/.test(this.text[this.position])) this.fail(`nested deeper than ${MAX_DEPTH}`);
    if (this.accept("{")) return this.object(depth + 1);
    if (this.accept("[")) return this.array(depth + 1);
    return this.number();
  }

  object(depth) {
    const object = new Map();
    if (this.accept("}")) return object;
    do {
      this.take(SPACE);
      const name = this.string();
      if (object.has(name)) this.fail(`key ${short(name, 80)} appears twice in one object`);
      if (!this.accept(":")) this.fail("not JSON: no colon");
      object.set(name, this.value(depth));
    } while (this.accept(","));
    if (!this.accept("}")) this.fail("not JSON: an object does not end");
    return object;
  }

  array(depth) {
    const array = [];
    if (this.accept("]")) return array;
    do array.push(this.value(depth));
    while (this.accept(","));
    if (!this.accept("]")) this.fail("not JSON: an array does not end");
    return array;
  }

  string() {
    if (this.text[this.position] !== '"') this.fail("not JSON: no string");
    let end = this.position + 1;
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === "\\" ? 2 : 1;
    let value;
    try {
      value = JSON.parse(this.text.slice(this.position, end + 1)); // one string: its escapes, no control characters
    } catch {
      this.fail("not JSON: a string does not end, or has what no string may have");
    }
    this.position = end + 1;
    if (SURROGATE.test(value)) this.fail("lone surrogate in a text");
    return value;
  }

  number() {
    const match = this.take(NUMBER);
    if (match === null) this.fail("not JSON: no value");
    const value = Number(match[0]);
    if (!Number.isFinite(value)) this.fail("number too large for a double");
    const isInteger = match[1] === undefined && match[2] === undefined;
    // Beyond 2^53-1 an integer is read only where its digits are what RFC 8785 writes for a double.
    if (isInteger && !Number.isSafeInteger(value) && String(value) !== match[0]) this.fail("integer beyond 2^53-1");
    return this.numeric(value, isInteger && Number.isSafeInteger(value));
  }

  /** What a number becomes; who has to tell 32 from 32.0 makes something else of it. */
  numeric(value) {
    return value;
  }
}

function parseJson(bytes, what, maxBytes = MAX_JSON_BYTES, Reader = JsonReader) {
  demand(bytes.length <= maxBytes, `${what}: ${bytes.length} bytes is more than the ${maxBytes} allowed`);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Wrong(`${what}: not UTF-8`);
  }
  return new Reader(text, what).read();
}

/** RFC 8785. Names are sorted by UTF-16 code units, which is how JavaScript compares text. */
function canonicalText(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  if (!(value instanceof Map)) return JSON.stringify(value);
  const names = [...value.keys()].sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalText(value.get(name))}`).join(",")}}`;
}

const canonicalBytes = (value) => utf8(canonicalText(value));

// --- fields -----------------------------------------------------------------------------------------------------

/** Read an object that has exactly these fields, or may lack those in `optional`. */
function record(value, what, fields, optional = {}) {
  demand(value instanceof Map, `${what}: not an object`);
  const result = {};
  for (const name of value.keys()) {
    const read = fields[name] ?? optional[name];
    demand(Object.hasOwn(fields, name) || Object.hasOwn(optional, name), `${what}: unknown field ${short(name, 80)}`);
    result[name] = read(value.get(name), `${what}.${name}`);
  }
  for (const name of Object.keys(fields)) demand(Object.hasOwn(result, name), `${what}: ${name} is missing`);
  return result;
}

const text = (value, what) => {
  demand(typeof value === "string", `${what}: not text`);
  return value;
};
const flag = (value, what) => {
  demand(typeof value === "boolean", `${what}: not true or false`);
  return value;
};
const object = (value, what) => {
  demand(value instanceof Map, `${what}: not an object`);
  return value;
};
const anything = (value) => value;
const constant = (expected) => (value, what) => {
  demand(value === expected, `${what}: not ${JSON.stringify(expected)}`);
  return value;
};
const oneOf = (...names) => (value, what) => {
  demand(names.includes(value), `${what}: not one of ${names.join(", ")}`);
  return value;
};
const integer = (from, to) => (value, what) => {
  demand(Number.isSafeInteger(value) && value >= from && value <= to, `${what}: not an integer from ${from} to ${to}`);
  return value;
};
const count = integer(0, Number.MAX_SAFE_INTEGER);
const list = (item, most = Infinity) => (value, what) => {
  demand(Array.isArray(value) && value.length <= most, `${what}: not a list of at most ${most}`);
  return value.map((each, i) => item(each, `${what}.${i}`));
};
const orNull = (read) => (value, what) => (value === null ? null : read(value, what));
const mapping = (read) => (value, what) =>
  new Map([...object(value, what)].map(([name, each]) => [name, read(each, `${what}.${name}`)]));

const hash = (value, what) => {
  demand(typeof value === "string" && /^[0-9a-f]{64}$/.test(value), `${what}: not 64 lower-case hexadecimal digits`);
  return Buffer.from(value, "hex");
};

/** A digest: `{ algorithm, bytes, text }`. */
const digest = (value, what) => {
  const match = /^([^:]*):([0-9a-f]{64})$/.exec(text(value, what));
  demand(match !== null && ALGORITHMS.has(match[1]), `${what}: not a digest of a known algorithm`);
  return { algorithm: match[1], bytes: Buffer.from(match[2], "hex"), text: value };
};

/** A UTC time in its one written form; whole seconds have no fraction, others six digits. Returned as text. */
const time = (value, what) => {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{6})?Z$/.exec(text(value, what));
  demand(match !== null && match[7] !== ".000000" && match[1] !== "0000", `${what}: not a time`);
  const seconds = new Date(`${value.slice(0, 19)}Z`);
  demand(!Number.isNaN(seconds.getTime()) && secondsText(seconds) === `${value.slice(0, 19)}Z`, `${what}: not a time`);
  return value;
};

function secondsText(date) {
  return `${date.toISOString().slice(0, 19)}Z`;
}

// --- log trees: RFC 9162, section 2.1 ---------------------------------------------------------------------------

const EMPTY_ROOT = sha256();
const leafHash = (entry) => sha256(Buffer.of(0), entry);
const nodeHash = (left, right) => sha256(Buffer.of(1), left, right);

function treeRoot(entries) {
  if (entries.length === 0) return EMPTY_ROOT;
  if (entries.length === 1) return leafHash(entries[0]);
  let left = 1;
  while (2 * left < entries.length) left *= 2;
  return nodeHash(treeRoot(entries.slice(0, left)), treeRoot(entries.slice(left)));
}

/** Section 2.1.3.2. `index` and `size` are numbers or BigInts, `leaf` is a leaf hash. */
function rootFromInclusion(leaf, index, size, path) {
  let [position, last] = [BigInt(index), BigInt(size) - 1n];
  demand(position <= last, `leaf index ${index} is outside a tree of size ${size}`);
  let node = leaf;
  for (const sibling of path) {
    demand(last > 0n, "inclusion path is too long");
    if (position & 1n || position === last) {
      node = nodeHash(sibling, node);
      while (!(position & 1n) && position > 0n) [position, last] = [position >> 1n, last >> 1n];
    } else {
      node = nodeHash(node, sibling);
    }
    [position, last] = [position >> 1n, last >> 1n];
  }
  demand(last === 0n, "inclusion path is too short");
  return node;
}

// --- the provenance tree: docs/spec/merkle.md -------------------------------------------------------------------

const SHAPE = new Map([
  ["", ["data", "model", "training"]],
  ["data", ["training", "test"]],
  ["model", ["architecture", "weights"]],
  ["training", ["config", "environment", "results", "epochs"]],
]);
const EPOCH_CHILDREN = ["model_state", "metrics", "privacy_metrics"];
const MAX_STEPS = 2048;

const step = (value, what) => record(value, what, { label: text, index: count, size: count, path: list(hash) });

const inclusionProof = (value, what) =>
  record(
    value,
    what,
    {
      format: constant("mrv-proof/1"), run_id: text, phase: text, root: digest, path: text, kind: text, steps: list(step),
    },
    { digest: orNull(digest), value: anything, size: orNull(count), children_root: orNull(hash) },
  );

const batchProof = (value, what) =>
  record(value, what, {
    format: constant("mrv-batch-proof/1"), member: digest, index: count, size: integer(1, 2 ** 32), path: list(hash),
    batch: digest,
  });

function labelBytes(label) {
  const bytes = utf8(label);
  demand(bytes.length > 0 && bytes.length <= 4096, `${short(label, 40)} is not a label`);
  return lengthPrefixed(bytes);
}

function unescapeLabel(segment) {
  demand(!/~(?![01])/.test(segment), `path segment ${short(segment, 80)} has a '~' that is not '~0' or '~1'`);
  return segment.replaceAll("~1", "/").replaceAll("~0", "~");
}

function branchHash(label, size, root) {
  demand((size === 0) === same(root, EMPTY_ROOT), `the children of ${short(label, 40)} cannot have this root`);
  return sha256("mrv1/branch\0", labelBytes(label), u64(size), root);
}

function runRoot(runId, phase, size, root) {
  demand(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(runId), `run id ${short(runId, 80)} is not usable`);
  demand(/^[a-z][a-z_]{0,31}$/.test(phase), `phase ${short(phase, 40)} is not usable`);
  return sha256("mrv1/run\0", lengthPrefixed(utf8(runId)), lengthPrefixed(utf8(phase)), u64(size), root);
}

function provenNodeHash(proof, label) {
  const { kind, digest: content = null, size = null, children_root: root = null } = proof;
  const parts = [content, size, root].map((part) => part !== null).join();
  if (kind === "absent" && parts === "false,false,false") return sha256("mrv1/absent\0", labelBytes(label));
  if (kind === "branch" && parts === "false,true,true") return branchHash(label, size, root);
  demand(kind !== "absent" && kind !== "branch" && parts === "true,false,false", "the node does not suit its kind");
  demand(/^[a-z][a-z0-9-]{0,31}$/.test(kind), `${short(kind, 40)} is not a kind of content`);
  const named = [kind, content.algorithm].map((name) => lengthPrefixed(utf8(name)));
  return sha256("mrv1/leaf\0", labelBytes(label), ...named, content.bytes);
}

function checkShape(parents, label, { index, size }) {
  let fixed = parents.length < 2 ? SHAPE.get(parents.join("/")) : undefined;
  if (parents[0] === "training" && parents[1] === "epochs") {
    demand(parents.length !== 2 || /^(?:0|[1-9][0-9]{0,15})$/.test(label), `${short(label, 40)} is not an epoch number`);
    if (parents.length === 3) fixed = EPOCH_CHILDREN;
  }
  const fits = fixed === undefined || (size === fixed.length && fixed[index] === label);
  demand(fits, `${short(label, 40)} is not child ${index} of ${short(parents.join("/"))}`);
}

function checkInclusionProof(proof, root) {
  demand(proof.root.text === root.text, "the proof was made for another root");
  demand(proof.steps.length <= MAX_STEPS, `the proof has more than ${MAX_STEPS} steps`);
  const labels = proof.path.split("/").map(unescapeLabel);
  const above = ["", ...labels.slice(0, -1)].reverse();
  const spelt = proof.steps.length === above.length && above.every((label, i) => proof.steps[i].label === label);
  demand(spelt, "the proof does not have one step for each part of the path");
  let current = provenNodeHash(proof, labels[labels.length - 1]);
  proof.steps.forEach((each, i) => {
    const depth = labels.length - 1 - i;
    checkShape(labels.slice(0, depth), labels[depth], each);
    const inner = rootFromInclusion(leafHash(current), each.index, each.size, each.path);
    current = depth > 0 ? branchHash(each.label, each.size, inner) : inner;
  });
  const computed = runRoot(proof.run_id, proof.phase, proof.steps[proof.steps.length - 1].size, current);
  demand(root.algorithm === "sha256" && same(computed, root.bytes), "the proof leads to another root");
  if (!Object.hasOwn(proof, "value")) return;
  demand(proof.kind === "json" && proof.digest, "the proof shows a value, but the node is not a json leaf");
  const found = ALGORITHMS.get(proof.digest.algorithm)(canonicalBytes(proof.value));
  demand(same(found, proof.digest.bytes), "the value shown is not the one in the tree");
}

function checkBatchProof(proof, root) {
  demand(proof.member.text === root.text, "the batch proof is for another member");
  demand(root.algorithm === "sha256", `members of a batch are sha256 commitments, not ${root.algorithm}`);
  const inner = rootFromInclusion(leafHash(root.bytes), proof.index, proof.size, proof.path);
  const computed = sha256("mrv1/batch\0", u64(proof.size), inner);
  const fits = proof.batch.algorithm === "sha256" && same(computed, proof.batch.bytes);
  demand(fits, "the batch proof leads to another batch");
}

// --- what an examiner returns -----------------------------------------------------------------------------------

/** What a receipt shows by itself; `remaining` says what only a network or the verifier's own knowledge can settle. */
function shown(receipt, { state = receipt.state, block = null, time: blockTime = null, remaining = [], trusts = [], facts = {} }) {
  return { state, block_hash: block, block_time: blockTime, remaining, trusts, facts };
}

function checkClaims(receipt, expected) {
  for (const [name, value] of Object.entries(expected)) {
    demand(receipt[name] === value, `the receipt claims ${name} ${short(receipt[name], 80)}, but it is ${value}`);
  }
}

// --- transparency logs: docs/networks/log.md --------------------------------------------------------------------

// Python's white space; JavaScript's \s differs from it in two characters.
const KEY_NAME = /^[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000+]+$/;
const LOG_KEY = /^[^+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/;

function decimal(value, what) {
  demand(/^(?:0|[1-9][0-9]{0,18})$/.test(value) && BigInt(value) <= MAX_TREE_SIZE, `${what}: not a decimal number`);
  return BigInt(value);
}

function base64Hash(value, what) {
  const bytes = fromBase64(value, what);
  demand(bytes.length === 32, `${what}: a hash is not 32 bytes`);
  return bytes;
}

/** C2SP tlog-proof, version 1, without extra data. */
function parseTlogProof(value) {
  const start = "c2sp.org/tlog-proof@v1\nindex ";
  const end = value.indexOf("\n\n");
  demand(end >= 0 && value.startsWith(start), "inclusion proof: not a C2SP tlog-proof, version 1, without extra data");
  const [index, ...path] = value.slice(start.length, end).split("\n");
  demand(end >= start.length && path.length <= 63, "inclusion proof: malformed, or more than 63 hashes");
  return {
    index: decimal(index, "leaf index"),
    path: path.map((line) => base64Hash(line, "inclusion proof")),
    note: value.slice(end + 2),
  };
}

/** C2SP signed-note with exactly one signature: `{ text, name, keyId, signature }`. */
function parseNote(value) {
  demand([...value].length <= 65536, "signed note: more than 65536 characters");
  demand(!/[\x00-\x09\x0b-\x1f]/.test(value), "signed note: control characters");
  const end = value.lastIndexOf("\n\n");
  demand(end > 0 && value.endsWith("\n") && value.length > end + 2, "signed note: no text and signatures");
  const lines = value.slice(end + 2, -1).split("\n");
  demand(lines.length === 1, "the checkpoint holds more than the log's signature");
  const fields = lines[0].slice(2).split(" ");
  const formed = lines[0].startsWith("\u2014 ") && fields.length === 2 && KEY_NAME.test(fields[0]);
  demand(formed, "signed note: malformed signature line");
  const bytes = fromBase64(fields[1], "signed note");
  demand(bytes.length === 4 + 64, "signed note: not a signature of Ed25519");
  return { text: value.slice(0, end + 1), name: fields[0], keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) };
}

/** A checkpoint of three lines and nothing else. */
function parseCheckpoint(value) {
  const lines = value.split("\n");
  demand(lines.length === 4 && lines[3] === "" && lines[0] !== "", "checkpoint: not origin, size and root alone");
  return { origin: lines[0], size: decimal(lines[1], "checkpoint size"), root: base64Hash(lines[2], "checkpoint root") };
}

/** A C2SP verifier key, `name+id+key`. */
function parseLogKey(value) {
  const [name, id, ...rest] = value.split("+");
  const bytes = Buffer.from(rest.join("+"), "base64");
  const keyId = sha256(utf8(name), Buffer.of(10, 1), bytes.subarray(1)).subarray(0, 4);
  const formed = KEY_NAME.test(name) && bytes.length === 33 && bytes[0] === 1;
  if (!formed || `${name}+${hex(keyId)}+${bytes.toString("base64")}` !== value || id !== hex(keyId)) {
    throw new Usage(`${short(value)} is not the key of a log`);
  }
  return { name, keyId, bytes: bytes.subarray(1), text: value };
}

function signatureHolds(key, note) {
  const jwk = { kty: "OKP", crv: "Ed25519", x: key.bytes.toString("base64url") };
  try {
    return verifySignature(null, utf8(note.text), createPublicKey({ key: jwk, format: "jwk" }), note.signature);
  } catch {
    return false; // bytes that are no point of the curve
  }
}

const logEvidence = (value) =>
  record(value, "evidence", { format: constant("mrv-log-evidence/1"), entry: text, proof: text });
const logEntry = (value) =>
  record(value, "log entry", { format: constant("mrv-log-entry/1"), commitment: digest, metadata: object });

/** Read a document that must be in canonical form, and must be this record. */
function parseCanonical(bytes, what, most, read) {
  demand(bytes.length <= most, `${what}: more than ${most} bytes`);
  const value = parseJson(bytes, what);
  demand(same(canonicalBytes(value), bytes), `${what}: not in canonical form`);
  return read(value);
}

function examineLog(receipt, commitment, trusted) {
  const keys = trusted.logKeys.map(parseLogKey).filter((key) => key.name === receipt.network_id);
  checkClaims(receipt, { driver: "log", embedded: true, state: "FINAL", block_time: null });
  const evidence = logEvidence(receipt.evidence);
  const proof = parseTlogProof(evidence.proof);
  const note = parseNote(proof.note);
  const checkpoint = parseCheckpoint(note.text);
  const entry = utf8(evidence.entry);
  const stated = parseCanonical(entry, "log entry", 65535, logEntry).commitment;
  const ofThisLog = checkpoint.origin === receipt.network_id && note.name === receipt.network_id;
  demand(ofThisLog, `the checkpoint is not of the log ${short(receipt.network_id)}`);
  const leaf = leafHash(entry);
  const root = rootFromInclusion(leaf, proof.index, checkpoint.size, proof.path);
  demand(same(root, checkpoint.root), "inclusion path leads to another root");
  demand(receipt.reference === `${receipt.network_id}#${hex(leaf)}`, "the reference is not that of the entry");
  demand(stated.text === commitment.text, `the logged entry states ${stated.text}`);
  const mine = keys.filter((key) => same(key.keyId, note.keyId));
  demand(keys.length === 0 || mine.length > 0, "the checkpoint is signed by another key than those given");
  for (const key of mine) demand(signatureHolds(key, note), `the signature of ${key.name} does not hold`);
  if (mine.length > 0) return shown(receipt, { trusts: mine.map((key) => `verifier key ${key.text}`) });
  const what = `that the log ${receipt.network_id} signed this checkpoint (size ${checkpoint.size})`;
  return shown(receipt, { remaining: [`${what} with its key ${hex(note.keyId)}: give it with --log-key`] });
}

// --- Bitcoin: docs/networks/bitcoin.md --------------------------------------------------------------------------

// Name, largest target in compact form, and what a header has cost at least and never reached, as powers of two.
const BITCOIN_CHAINS = new Map([
  ["bip122:000000000019d6689c085ae165831e93", { name: "main", easiest: 0x1d00ffff, floor: 70n, ceiling: 256n }],
  ["bip122:000000000933ea01ad0ee984209779ba", { name: "test", easiest: 0x1d00ffff, floor: 32n, ceiling: 70n }],
  ["bip122:00000000da84f2bafbbc53dee25a72ae", { name: "testnet4", easiest: 0x1d00ffff, floor: 32n, ceiling: 70n }],
  ["bip122:00000008819873e925422c1ff0f99f7c", { name: "signet", easiest: 0x1e0377ae, floor: 22n, ceiling: 40n }],
  ["bip122:0f9188f13cb7b2c71f2a335e3a4fc328", { name: "regtest", easiest: 0x207fffff, floor: 0n, ceiling: 2n }],
]);
const PAYLOAD_CODES = new Map([[0x12, "sha256"], [0x16, "sha3-256"], [0x1e, "blake3"], [0xb2, "blake2b-256"]]);
const MAX_TRANSACTION_BYTES = 400_000;
const MAX_MERKLE_DEPTH = 15;

const evenHex = (most) => (value, what) => {
  demand(text(value, what).length > 0 && value.length <= 2 * most, `${what}: empty, or more than ${most} bytes`);
  return fromHex(value, what);
};
const headerBytes = (value, what) => {
  const bytes = fromHex(text(value, what), what);
  demand(bytes.length === 80, `${what}: not a block header of 80 bytes`);
  return bytes;
};
const branch = list(hash, MAX_MERKLE_DEPTH);

const bitcoinEvidence = (value) =>
  record(value, "evidence", {
    format: constant("mrv-evidence-bitcoin/1"), transaction: evenHex(MAX_TRANSACTION_BYTES),
    output_index: integer(0, 2 ** 32 - 1), transaction_index: integer(0, 2 ** 32 - 1), merkle_branch: branch,
    coinbase: evenHex(MAX_TRANSACTION_BYTES), coinbase_branch: branch, header: headerBytes, block_hash: hash,
    height: integer(0, 2 ** 31 - 1),
  });

class ByteReader {
  constructor(bytes, what) {
    this.bytes = bytes;
    this.what = what;
    this.place = 0;
  }

  take(length) {
    demand(length <= this.bytes.length - this.place, `${this.what}: ends in the middle of something`);
    this.place += length;
    return this.bytes.subarray(this.place - length, this.place);
  }

  /** An integer in its shortest form, of at most `most`. */
  compactSize(most) {
    const first = this.take(1)[0];
    const [width, least] = { 0xfd: [2, 0xfd], 0xfe: [4, 0x1_0000], 0xff: [8, 0x1_0000_0000] }[first] ?? [0, 0];
    const value = width === 0 ? BigInt(first) : BigInt(`0x${hex(reversed(this.take(width)))}`);
    demand(value >= BigInt(least) && value <= BigInt(most), `${this.what}: a length that is malformed or too large`);
    return Number(value);
  }

  counted(most) {
    return this.take(this.compactSize(most));
  }

  end() {
    demand(this.place === this.bytes.length, `${this.what}: bytes too many`);
  }
}

/** A transaction without witness: `{ txid, inputs: [{ outpoint, script }], outputs: [script] }`. */
function parseTransaction(bytes, what) {
  const reader = new ByteReader(bytes, what);
  reader.take(4);
  demand(!same(bytes.subarray(4, 6), Buffer.of(0, 1)), `${what}: a witness does not belong there`);
  const inputs = Array.from({ length: reader.compactSize(100_000) }, () => {
    const input = { outpoint: reader.take(36), script: reader.counted(MAX_TRANSACTION_BYTES) };
    reader.take(4);
    return input;
  });
  const outputs = Array.from({ length: reader.compactSize(100_000) }, () => {
    reader.take(8);
    return reader.counted(MAX_TRANSACTION_BYTES);
  });
  reader.take(4);
  reader.end();
  demand(inputs.length > 0 && outputs.length > 0, `${what}: a transaction without inputs or without outputs`);
  demand(bytes.length !== 64, `${what}: a transaction of 64 bytes can pass for a node of a Merkle tree`);
  return { txid: doubleSha256(bytes), inputs, outputs };
}

const isCoinbase = ({ inputs }) => inputs.length === 1 && hex(inputs[0].outpoint) === "00".repeat(32) + "ffffffff";

/** The commitment in an output script, as digest text, or null where the script is not exactly one of ours. */
function payloadOf(script) {
  const ours = script.length === 39 && same(script.subarray(0, 6), concat(Buffer.of(0x6a, 37), "MRV1"));
  const algorithm = ours ? PAYLOAD_CODES.get(script[6]) : undefined;
  return algorithm === undefined ? null : `${algorithm}:${hex(script.subarray(7))}`;
}

function merkleRoot(txid, index, siblings) {
  demand(index < 2 ** siblings.length, `a block has no transaction ${index} with so short a Merkle branch`);
  let node = txid;
  let position = index;
  for (const sibling of siblings) {
    const onRight = position % 2 === 1;
    demand(!onRight || !same(sibling, node), "the Merkle branch pairs a transaction with itself");
    node = onRight ? doubleSha256(sibling, node) : doubleSha256(node, sibling);
    position = Math.floor(position / 2);
  }
  return node;
}

function target(bits) {
  const exponent = bits >>> 24;
  const mantissa = BigInt(bits & 0x7fffff);
  const value = exponent > 3 ? mantissa << BigInt(8 * (exponent - 3)) : mantissa >> BigInt(8 * (3 - exponent));
  demand(!(bits & 0x800000) && value > 0n && value < 1n << 256n, "the block header has no valid target");
  return value;
}

/** A header whose hash meets its own target: `{ hash, root, time, work }`. */
function parseHeader(bytes, chain) {
  const blockHash = reversed(doubleSha256(bytes));
  const limit = target(bytes.readUInt32LE(72));
  demand(!chain || limit <= target(chain.easiest), "the block header is of an easier chain than the one claimed");
  demand(BigInt(`0x${hex(blockHash)}`) <= limit, "the block header does not have the work that it claims");
  return {
    hash: blockHash,
    root: bytes.subarray(36, 68),
    time: secondsText(new Date(bytes.readUInt32LE(68) * 1000)),
    work: (1n << 256n) / (limit + 1n),
  };
}

/** The bytes with which a coinbase's script pushes its height (BIP 34). */
function heightPush(height) {
  if (height <= 16) return Buffer.of(height > 0 ? 0x50 + height : 0);
  const bytes = [];
  for (let rest = height; rest > 0; rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  if (bytes[bytes.length - 1] & 0x80) bytes.push(0);
  return Buffer.from([bytes.length, ...bytes]);
}

function examineBitcoin(receipt, commitment, trusted) {
  demand(!receipt.embedded, "the receipt is not one of the Bitcoin driver");
  const named = /^bip122:[0-9a-f]{32}$/.test(receipt.network_id);
  demand(named, `the receipt names no Bitcoin chain: ${short(receipt.network_id)}`);
  const chain = BITCOIN_CHAINS.get(receipt.network_id);
  if (receipt.evidence.size === 0) return examineUnincluded(receipt, commitment);
  if (receipt.evidence.get("format") === "mrv-evidence-ots/1") return examineOts(receipt, commitment, trusted, chain);
  const evidence = bitcoinEvidence(receipt.evidence);
  const transaction = parseTransaction(evidence.transaction, "transaction");
  const header = parseHeader(evidence.header, chain);
  demand(hex(reversed(transaction.txid)) === receipt.reference, "the evidence holds another transaction");
  const script = transaction.outputs[evidence.output_index];
  demand(script !== undefined && payloadOf(script) === commitment.text, "the output is not for the commitment");
  const root = merkleRoot(transaction.txid, evidence.transaction_index, evidence.merkle_branch);
  demand(!isCoinbase(transaction) && same(root, header.root), "the transaction is not in the block of the evidence");
  checkCoinbase(evidence, header);
  demand(same(header.hash, evidence.block_hash), "the header of the evidence has another hash");
  demand(!chain || header.work >= 1n << chain.floor, "the block header cost too little: anyone could have made it");
  return inBitcoinBlock(receipt, header, evidence.height, trusted);
}

function checkCoinbase(evidence, header) {
  const coinbase = parseTransaction(evidence.coinbase, "coinbase");
  const first = isCoinbase(coinbase) && same(merkleRoot(coinbase.txid, 0, evidence.coinbase_branch), header.root);
  demand(first, "the coinbase of the evidence is not the first transaction of its block");
  const push = heightPush(evidence.height);
  const stated = same(coinbase.inputs[0].script.subarray(0, push.length), push);
  demand(stated, `the block is not at height ${evidence.height}`);
  const alike = evidence.coinbase_branch.length === evidence.merkle_branch.length;
  demand(alike, "the Merkle branches of one block have different lengths");
}

function inBitcoinBlock(receipt, header, height, trusted) {
  demand(receipt.block_time === header.time, `the receipt's block time is not the header's, ${header.time}`);
  const blockHash = hex(header.hash);
  const found = { block: blockHash, time: header.time };
  if (trusted.blocks.includes(blockHash)) return shown(receipt, { ...found, trusts: [`block ${blockHash}`] });
  const chain = BITCOIN_CHAINS.get(receipt.network_id);
  const credible = chain !== undefined && header.work < 1n << chain.ceiling; // else it is of another chain
  if (trusted.minWork !== null && credible && header.work >= 1n << BigInt(trusted.minWork)) {
    return shown(receipt, { ...found, trusts: [`a header that cost 2^${trusted.minWork} hashes or more`] });
  }
  const name = chain?.name ?? receipt.network_id;
  const remaining = [`that block ${blockHash} (height ${height}) is in the Bitcoin chain ${name}: compare it`];
  return shown(receipt, { ...found, remaining });
}

function examineUnincluded(receipt, commitment) {
  demand(receipt.block_time === null, "the receipt claims a block time without evidence of a block");
  demand(/^[0-9a-f]{64}$/.test(receipt.reference), "the receipt's reference is no transaction id");
  const remaining = [`that transaction ${receipt.reference} carries ${commitment.text} and is in a block: ask a node`];
  return shown(receipt, { state: "PENDING", remaining });
}

// --- OpenTimestamps: docs/opentimestamps.md ---------------------------------------------------------------------

const OTS_MAGIC = concat("\0OpenTimestamps\0\0Proof\0", Buffer.from("bf89e2e884e89294", "hex"));
const OTS_FILE_HASHES = new Map([[0x02, 20], [0x03, 20], [0x08, 32], [0x67, 32]]);
const OTS_SHA1 = 0x02;
const OTS_RIPEMD160 = 0x03;
const OTS_OPERATIONS = new Map([
  [OTS_SHA1, (message) => createHash("sha1").update(message).digest()],
  [OTS_RIPEMD160, (message) => ripemd160(message)],
  [0x08, (message) => sha256(message)],
  [0x67, () => null], // Keccak-256 is not computed: nothing behind it counts
  [0xf0, (message, argument) => concat(message, argument)],
  [0xf1, (message, argument) => concat(argument, message)],
  [0xf2, (message) => reversed(message)],
  [0xf3, (message) => ascii(hex(message))],
]);
const OTS_OTHER_CHAINS = ["06869a0d73d71b45", "30fe8087b5c7ead7"]; // Litecoin and Ethereum: a height as well
const MAX_OTS_BYTES = 65536;

class OtsReader extends ByteReader {
  /** LEB128 of at most 32 bits in its shortest form. */
  number() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.take(1)[0];
      value |= BigInt(byte & 0x7f) << shift;
      demand(!(byte === 0 && shift > 0n) && value < 1n << 32n, "OpenTimestamps proof: a number too large or too long");
      if (byte < 0x80) return Number(value);
    }
  }

  varBytes(most, least = 0) {
    const length = this.number();
    demand(length >= least && length <= most, `OpenTimestamps proof: a length of ${length}`);
    return this.take(length);
  }
}

/** What a proof attests: `{ hashTag, digest, attestations: [{ kind, message, weak, height }] }`. */
function parseOts(bytes) {
  demand(same(bytes.subarray(0, OTS_MAGIC.length), OTS_MAGIC), "not an OpenTimestamps proof");
  const reader = new OtsReader(bytes, "OpenTimestamps proof");
  reader.take(OTS_MAGIC.length);
  demand(reader.number() === 1, "OpenTimestamps proof: of another version than 1");
  const hashTag = reader.take(1)[0];
  demand(OTS_FILE_HASHES.has(hashTag), "OpenTimestamps proof: unknown hash of the file");
  const content = reader.take(OTS_FILE_HASHES.get(hashTag));
  const attestations = [];
  const waiting = [{ message: content, depth: 0, weak: false }];
  let weakBytes = 0;
  while (waiting.length > 0) {
    const node = waiting.pop();
    let tag = reader.take(1)[0];
    if (tag === 0xff) {
      waiting.push(node);
      tag = reader.take(1)[0];
    }
    if (tag === 0x00) {
      attestations.push({ ...otsAttestation(reader), message: node.message, weak: node.weak });
    } else {
      const weak = tag === OTS_SHA1 || tag === OTS_RIPEMD160;
      if (weak) weakBytes += node.message?.length ?? 0;
      demand(weakBytes <= 65536, "OpenTimestamps proof: too many weak operations");
      demand(node.depth < 255, "OpenTimestamps proof: more than 255 operations in a row");
      const message = otsOperation(reader, tag, node.message);
      waiting.push({ message, depth: node.depth + 1, weak: node.weak || weak });
    }
    demand(attestations.length <= 1000, "OpenTimestamps proof: more than 1000 attestations");
  }
  reader.end();
  return { hashTag, digest: content, attestations };
}

function otsOperation(reader, tag, message) {
  const argument = tag === 0xf0 || tag === 0xf1 ? reader.varBytes(4096, 1) : null;
  demand(OTS_OPERATIONS.has(tag), "OpenTimestamps proof: unknown operation");
  const result = message === null ? null : OTS_OPERATIONS.get(tag)(message, argument);
  demand(result === null || result.length <= 4096, "OpenTimestamps proof: a message of more than 4096 bytes");
  return result;
}

function otsAttestation(reader) {
  const tag = hex(reader.take(8));
  const payload = new OtsReader(reader.varBytes(8192), "OpenTimestamps attestation");
  if (tag === "0588960d73d71901" || OTS_OTHER_CHAINS.includes(tag)) {
    const height = payload.number();
    payload.end();
    return OTS_OTHER_CHAINS.includes(tag) ? { kind: "unknown" } : { kind: "bitcoin", height };
  }
  if (tag !== "83dfe30d2ef90c8e") return { kind: "unknown" };
  const uri = payload.varBytes(1000).toString("latin1");
  demand(/^[A-Za-z0-9\-._/:]*$/.test(uri), "OpenTimestamps proof: a calendar's address with other characters");
  payload.end();
  return { kind: "pending" };
}

const otsEvidence = (value) =>
  record(value, "evidence", {
    format: constant("mrv-evidence-ots/1"), ots: evenHex(MAX_OTS_BYTES), height: orNull(integer(0, 2 ** 31 - 1)),
    block_hash: orNull(hash), header: orNull(headerBytes),
  });

function examineOts(receipt, commitment, trusted, chain) {
  const evidence = otsEvidence(receipt.evidence);
  const proof = parseOts(evidence.ots);
  demand(proof.hashTag === 0x08, "the OpenTimestamps proof knows its file by another hash than SHA-256");
  const claims = proof.attestations.filter(({ kind, message }) => kind === "bitcoin" && message !== null);
  demand(claims.every(({ message }) => message.length === 32), "what a proof takes for a Merkle root is not 32 bytes");
  const attests = claims.length > 0 || proof.attestations.some(({ kind }) => kind === "pending");
  demand(attests, "the OpenTimestamps proof attests nothing that can be checked here");
  demand(receipt.reference === `ots:${hex(sha256(evidence.ots))}`, "the evidence holds another proof");
  demand(commitment.text === `sha256:${hex(proof.digest)}`, "the OpenTimestamps proof is about another digest");
  if (evidence.header === null || evidence.height === null) return examineOtsClaims(receipt, evidence, claims);
  const header = parseHeader(evidence.header, chain);
  demand(evidence.block_hash !== null && same(header.hash, evidence.block_hash), "the header has another hash");
  const ways = claims.filter(({ height, message }) => height === evidence.height && same(message, header.root));
  demand(ways.length > 0, "the proof does not lead to the block header");
  const found = inBitcoinBlock(receipt, header, evidence.height, trusted);
  // With a hash of 160 bits on the way, whoever made the file may have made another one with the same proof.
  if (ways.every(({ weak }) => weak)) found.remaining.push("that nobody made a second file for this proof's weak hashes");
  return found;
}

function examineOtsClaims(receipt, evidence, claims) {
  const none = evidence.header === null && evidence.height === null && evidence.block_hash === null;
  demand(none, "malformed evidence: height, block_hash and header belong together");
  demand(receipt.block_time === null, "the receipt claims a block time without evidence of a block");
  const roots = claims.map(({ height, message }) => `that block ${height} has the Merkle root ${hex(reversed(message))}`);
  return shown(receipt, { state: "PENDING", remaining: roots.length > 0 ? roots : ["that a block holds it at all"] });
}

// --- Ethereum: docs/networks/ethereum.md ------------------------------------------------------------------------

// Code hashes of every released version of the contract MLProvenance.
const CODE_HASHES = new Set(["82c6c9febae5c1b123ef32d90ed9c0edad676b6a5d20db218abf9ed3dcf556eb"]);
// And of the contract MRVRegistry.
const REGISTRY_CODE_HASHES = new Set(["2cab374050b2c5e1ac7edb6219507977ef8dc575823760e215e2e1e9272ea5e0"]);
const STORE_HASH = keccak256("storeHash(bytes32,string)").subarray(0, 4);
const REGISTER_MRV = keccak256("registerMRV(string,bytes32)").subarray(0, 4);
const HASH_SUBMITTED = keccak256("HashSubmitted(bytes32,address,string,uint256)");
const EMPTY_TRIE = keccak256(Buffer.of(0x80));
const LAST_SECOND = 253402300799n; // 9999-12-31

const number = (bytes) => BigInt(`0x0${hex(bytes)}`);

/** Decode exactly one RLP item (Yellow Paper, appendix B): bytes, or an array of items; one encoding for each item. */
function decodeRlp(bytes) {
  const [item, end] = rlpItem(bytes, 0, bytes.length, 0);
  demand(end === bytes.length, "RLP item is followed by more bytes");
  return item;
}

function rlpItem(bytes, start, stop, depth) {
  const { isList, begin, end } = rlpSpan(bytes, start, stop);
  if (!isList) return [bytes.subarray(begin, end), end];
  demand(depth < 8, "RLP is nested deeper than 8 lists");
  const items = [];
  for (let place = begin; place < end; ) {
    const [item, next] = rlpItem(bytes, place, end, depth + 1);
    items.push(item);
    place = next;
  }
  return [items, end];
}

function rlpSpan(bytes, start, stop) {
  demand(start < stop, "RLP ends where an item should begin");
  const first = bytes[start];
  if (first < 0x80) return { isList: false, begin: start, end: start + 1 };
  const isList = first >= 0xc0;
  const short = first - (isList ? 0xc0 : 0x80);
  let [begin, size] = [start + 1, short];
  if (short > 55) {
    begin += short - 55;
    demand(begin <= stop && bytes[start + 1] !== 0, "RLP length is cut off or has leading zeros");
    const length = number(bytes.subarray(start + 1, begin));
    demand(length > 55n, "RLP length is not in its shortest form");
    size = length > BigInt(stop) ? Infinity : Number(length);
  }
  demand(size <= stop - begin, "RLP item reaches beyond its container");
  demand(first !== 0x81 || bytes[begin] >= 0x80, "RLP writes a single byte with a length");
  return { isList, begin, end: begin + size };
}

// Not `concat(...)`: a list may have more items than a call takes arguments.
function encodeRlp(item) {
  const content = Array.isArray(item) ? Buffer.concat(item.map(encodeRlp)) : item;
  if (!Array.isArray(item) && content.length === 1 && content[0] < 0x80) return content;
  const offset = Array.isArray(item) ? 0xc0 : 0x80;
  if (content.length <= 55) return concat(Buffer.of(offset + content.length), content);
  const width = integerBytes(BigInt(content.length));
  return concat(Buffer.of(offset + 55 + width.length), width, content);
}

/** An unsigned integer, big-endian, without leading zeros; nothing for zero. */
function integerBytes(value) {
  const digits = value === 0n ? "" : value.toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
}

function rlpList(item, what, length = null) {
  demand(Array.isArray(item) && (length === null || item.length === length), `${what} is not an RLP list`);
  return item;
}

function rlpBytes(item, what, size = null) {
  demand(!Array.isArray(item) && (size === null || item.length === size), `${what} is not a string of its size`);
  return item;
}

function rlpInteger(item, what) {
  const bytes = rlpBytes(item, what);
  demand(bytes.length <= 32 && bytes[0] !== 0, `${what} is not an integer`);
  return number(bytes);
}

/** Walk a Merkle-Patricia proof (Yellow Paper, appendix D); the value, or null where it shows that there is none. */
function trieValue(root, key, nodes) {
  let used = 0;
  let child = same(root, EMPTY_TRIE) ? Buffer.alloc(0) : root;
  let nibbles = hex(key);
  let value = null;
  while (Array.isArray(child) || child.length > 0) {
    let node = child;
    if (!Array.isArray(child)) {
      demand(child.length === 32 && used < nodes.length, "trie proof ends before its key");
      demand(same(keccak256(nodes[used]), child), "a trie node does not have the hash its parent commits to");
      node = rlpList(decodeRlp(nodes[used]), "trie node");
      used += 1;
    }
    const step = trieStep(node, nibbles);
    if (step.child === undefined) {
      value = step.value;
      break;
    }
    [child, nibbles] = [step.child, step.nibbles];
  }
  demand(used === nodes.length, "trie proof has nodes that belong to no step");
  return value;
}

function trieStep(node, nibbles) {
  const leaf = (item) => (rlpBytes(item, "trie value").length > 0 ? item : null);
  if (node.length === 17) {
    if (nibbles === "") return { value: leaf(node[16]) };
    return { child: node[parseInt(nibbles[0], 16)], nibbles: nibbles.slice(1) };
  }
  demand(node.length === 2, `trie node has ${node.length} items`);
  const path = hex(rlpBytes(node[0], "trie path"));
  const match = /^(?:(0|2)0|(1|3))(.*)$/.exec(path); // hex-prefix encoding (appendix C)
  demand(match !== null, "trie path has no valid prefix");
  const [, even, odd, rest] = match;
  const isLeaf = even === "2" || odd === "3";
  demand(isLeaf || rest !== "", "trie extension has no path");
  if (isLeaf) return { value: nibbles === rest ? leaf(node[1]) : null };
  if (!nibbles.startsWith(rest)) return { value: null };
  return { child: node[1], nibbles: nibbles.slice(rest.length) };
}

function present(what, value) {
  demand(value !== null, `the ${what} is not in the block`);
  return value;
}

const zeroX = (value, what) => {
  demand(text(value, what).startsWith("0x"), `${what}: does not start with 0x`);
  return fromHex(value.slice(2), what);
};
const proofNodes = list(zeroX, 64);
const headerFields = { block_number: integer(0, 2 ** 53 - 1), block_hash: zeroX, header: zeroX };
const transactionFields = { transaction_index: integer(0, 2 ** 32 - 1), transaction_proof: proofNodes };
const stateFields = { contract: zeroX, submitter: zeroX, account_proof: proofNodes, storage_proof: proofNodes };

/** A header of any fork: `{ hash, stateRoot, transactionsRoot, receiptsRoot, number, timestamp }`. */
function parseEthereumHeader(evidence) {
  const fields = rlpList(decodeRlp(evidence.header), "block header");
  demand(fields.length >= 15, "block header has fewer fields than Ethereum ever had");
  const [stateRoot, transactionsRoot, receiptsRoot] = fields.slice(3, 6).map((item) => rlpBytes(item, "root", 32));
  const [height, timestamp] = [rlpInteger(fields[8], "number"), rlpInteger(fields[11], "block time")];
  demand(timestamp <= LAST_SECOND, "block time is beyond the year 9999");
  if (fields.length > 15) rlpInteger(fields[15], "base fee");
  const header = { hash: keccak256(evidence.header), stateRoot, transactionsRoot, receiptsRoot, number: height, timestamp };
  demand(same(evidence.block_hash, header.hash), "the header of the evidence has another hash");
  demand(BigInt(evidence.block_number) === header.number, "the header of the evidence has another number");
  return { ...header, time: secondsText(new Date(Number(timestamp) * 1000)) };
}

/** The storage root of the account at an address, which must have the contract's code. */
function contractStorage(header, contract, proof, codeHashes = CODE_HASHES, name = "MLProvenance") {
  const account = present("contract", trieValue(header.stateRoot, keccak256(contract), proof));
  const [, , storageRoot, codeHash] = rlpList(decodeRlp(account), "account", 4);
  const known = codeHashes.has(hex(rlpBytes(codeHash, "code hash")));
  demand(known, `the code at the contract's address is not that of ${name}`);
  return rlpBytes(storageRoot, "storage root", 32);
}

/** The record `_submissions[submitter][root]`, not younger than the block in whose state it is. */
function submission(header, storageRoot, submitter, root, proof) {
  const inner = keccak256(Buffer.alloc(12), submitter, Buffer.alloc(32));
  return datedRecord(header, storageWord(storageRoot, keccak256(root, inner), proof));
}

/** A word of storage that is not zero, as a BigInt. */
function storageWord(storageRoot, slot, proof) {
  return rlpInteger(decodeRlp(present("record", trieValue(storageRoot, keccak256(slot), proof))), "record");
}

/** Time and block of a record, out of its word: not younger than the block in whose state it is. */
function datedRecord(header, word) {
  const first = { timestamp: word & ((1n << 64n) - 1n), number: word >> 64n };
  const older = first.number <= header.number && first.timestamp <= header.timestamp;
  demand(older, "the contract's record is younger than the block it is in");
  const dated = first.number !== header.number || first.timestamp === header.timestamp;
  demand(dated, "the contract's record and the header differ in the block's time");
  return first;
}

/** The first event `HashSubmitted` of the contract in a transaction's receipt (EIP-2718), which must have succeeded. */
function submittedEvent(encoded, contract) {
  const payload = encoded.length === 0 || encoded[0] < 0x80 ? encoded.subarray(1) : encoded;
  const [status, , , logs] = rlpList(decodeRlp(payload), "transaction receipt", 4);
  demand(rlpInteger(status, "status") === 1n, "the transaction failed");
  for (const log of rlpList(logs, "logs")) {
    const [address, topics, data] = rlpList(log, "log", 3);
    const [name] = rlpList(topics, "topics");
    const ours = !Array.isArray(address) && same(address, contract) && name instanceof Buffer && same(name, HASH_SUBMITTED);
    if (ours) return decodeEvent(topics, rlpBytes(data, "log data"));
  }
  throw new Wrong("the transaction did not make the contract record anything");
}

function decodeEvent(topics, data) {
  demand(topics.length === 3, "HashSubmitted does not have 3 topics");
  const [root, submitter] = topics.slice(1).map((topic) => rlpBytes(topic, "topic", 32));
  // ABI encoding of (string, uint256): offset of the text, time, then at the offset its length and bytes.
  const clamp = (value) => Number(value < BigInt(data.length) ? value : BigInt(data.length));
  const start = number(data.subarray(0, 32));
  const size = number(data.subarray(clamp(start), clamp(start + 32n)));
  const label = data.subarray(clamp(start + 32n), clamp(start + 32n + size));
  demand(BigInt(label.length) === size, "HashSubmitted is cut off");
  return { commitment: commitmentOf(root, label), root, submitter: submitter.subarray(12) };
}

/** The contract keeps no algorithm: any but SHA-256 stands before a colon in the text beside the root. */
function commitmentOf(root, label) {
  const colon = label.indexOf(0x3a);
  const name = colon < 0 ? "" : label.subarray(0, colon).toString("latin1");
  return `${ALGORITHMS.has(name) ? name : "sha256"}:${hex(root)}`;
}

// The one chain that folders keep for themselves, and its contract.
const EMBEDDED_ID = "eip155:131277322940537";
const EMBEDDED_CONTRACT = "f2e246bb76df876cef8b38ae84130f4f55de395b";

const embeddedEvidence = (value) =>
  record(value, "evidence", {
    format: constant("mrv-evidence-ethereum/1"), ...headerFields, ...transactionFields, ...stateFields, receipt_proof: proofNodes,
  });
const stateEvidence = (value) =>
  record(value, "evidence", { format: constant("mrv-evidence-ethereum-state/1"), ...headerFields, ...stateFields });
const calldataEvidence = (value) =>
  record(value, "evidence", {
    format: constant("mrv-evidence-ethereum-calldata/1"), ...headerFields, ...transactionFields,
  });

/** What the evidence shows: `{ header, time, remaining }`; `time` is when the commitment stood there. */
function showEmbedded(receipt, commitment) {
  const evidence = embeddedEvidence(receipt.evidence);
  const header = parseEthereumHeader(evidence);
  demand(hex(evidence.contract) === EMBEDDED_CONTRACT, "the evidence is about another contract");
  const storageRoot = contractStorage(header, evidence.contract, evidence.account_proof);
  const key = encodeRlp(integerBytes(BigInt(evidence.transaction_index)));
  const transaction = present("transaction", trieValue(header.transactionsRoot, key, evidence.transaction_proof));
  const done = present("receipt", trieValue(header.receiptsRoot, key, evidence.receipt_proof));
  const event = submittedEvent(done, evidence.contract);
  demand(same(evidence.submitter, event.submitter), "the evidence names another submitter");
  submission(header, storageRoot, event.submitter, event.root, evidence.storage_proof);
  demand(event.commitment === commitment.text, `the evidence is about ${event.commitment}`);
  demand(receipt.reference === `0x${hex(keccak256(transaction))}`, "the evidence is about another transaction");
  const asWritten = receipt.state === "FINAL" && receipt.submitted_at === receipt.block_time;
  demand(asWritten, "the receipt is not as the embedded chain writes them");
  return { header, time: header.time, remaining: [] };
}

function showState(receipt, commitment) {
  const evidence = stateEvidence(receipt.evidence);
  const header = parseEthereumHeader(evidence);
  const addresses = evidence.contract.length === 20 && evidence.submitter.length === 20;
  demand(addresses, "an address in the evidence has not 20 bytes");
  const storageRoot = contractStorage(header, evidence.contract, evidence.account_proof);
  const first = submission(header, storageRoot, evidence.submitter, commitment.bytes, evidence.storage_proof);
  const recorded = secondsText(new Date(Number(first.timestamp) * 1000));
  const remaining = [];
  if (first.number !== header.number) remaining.push(`that the record is of ${recorded}, block ${first.number}`);
  if (commitment.algorithm !== "sha256") remaining.push(`that the 32 bytes are a ${commitment.algorithm} digest`);
  const facts = { contract: `0x${hex(evidence.contract)}`, submitter: `0x${hex(evidence.submitter)}` };
  return { header, time: recorded, remaining, facts };
}

const registryEvidence = (value) =>
  record(value, "evidence", {
    format: constant("mrv-evidence-ethereum-registry/1"), ...headerFields, contract: zeroX, submitter: zeroX, mrv_id: text,
    account_proof: proofNodes, hash_proof: proofNodes, time_proof: proofNodes, id_proof: proofNodes,
  });

const word = (value) => Buffer.from(value.toString(16).padStart(64, "0"), "hex");
const zeroX20 = (value) => `0x${value.toString(16).padStart(40, "0")}`;

function showRegistry(receipt, commitment) {
  const evidence = registryEvidence(receipt.evidence);
  demand(commitment.algorithm === "sha256", "MRVRegistry keeps SHA-256 hashes");
  const header = parseEthereumHeader(evidence);
  const addresses = evidence.contract.length === 20 && evidence.submitter.length === 20;
  demand(addresses, "an address in the evidence has not 20 bytes");
  demand(/^[!-~]{1,128}$/.test(evidence.mrv_id), "the evidence names an id that MRVRegistry does not take");
  const codes = REGISTRY_CODE_HASHES;
  const storageRoot = contractStorage(header, evidence.contract, evidence.account_proof, codes, "MRVRegistry");
  const key = keccak256(utf8(evidence.mrv_id));
  const slot = keccak256(key, keccak256(Buffer.alloc(12), evidence.submitter, word(0n)));
  const held = word(storageWord(storageRoot, slot, evidence.hash_proof));
  demand(same(held, commitment.bytes), `what is registered as ${evidence.mrv_id} is sha256:${hex(held)}`);
  const timeSlot = word(BigInt(`0x${hex(slot)}`) + 1n);
  const first = datedRecord(header, storageWord(storageRoot, timeSlot, evidence.time_proof));
  const entry = storageWord(storageRoot, keccak256(key, word(1n)), evidence.id_proof);
  const submitters = (entry >> 160n) & ((1n << 64n) - 1n);
  const possible = submitters > 0n && submitters <= BigInt(Number.MAX_SAFE_INTEGER);
  demand(possible, `the registry counts ${submitters} submitters of ${evidence.mrv_id}`);
  const facts = {
    contract: `0x${hex(evidence.contract)}`,
    submitter: `0x${hex(evidence.submitter)}`,
    mrv_id: evidence.mrv_id,
    first_submitter: zeroX20(entry & ((1n << 160n) - 1n)),
    submitters: Number(submitters),
  };
  const recorded = secondsText(new Date(Number(first.timestamp) * 1000));
  const older = `that the record is of ${recorded}, block ${first.number}`;
  return { header, time: recorded, remaining: first.number === header.number ? [] : [older], facts };
}

function showCalldata(receipt, commitment) {
  const evidence = calldataEvidence(receipt.evidence);
  const header = parseEthereumHeader(evidence);
  const key = encodeRlp(integerBytes(BigInt(evidence.transaction_index)));
  const raw = present("transaction", trieValue(header.transactionsRoot, key, evidence.transaction_proof));
  const transaction = parseEthereumTransaction(raw);
  demand(statedByData(transaction.input) === commitment.text, "the transaction's data are not this commitment");
  const sender = senderOf(transaction);
  demand(same(transaction.to, sender), "the transaction was not sent by its receiver to itself");
  demand(receipt.reference === `0x${hex(keccak256(raw))}`, "the evidence is about another transaction");
  demand(receipt.network_id === `eip155:${transaction.chainId}`, "the transaction is bound to another chain");
  return { header, time: header.time, remaining: [], facts: { submitter: `0x${hex(sender)}` } };
}

const ETHEREUM_FORMATS = new Map([
  ["mrv-evidence-ethereum/1", showEmbedded],
  ["mrv-evidence-ethereum-state/1", showState],
  ["mrv-evidence-ethereum-calldata/1", showCalldata],
  ["mrv-evidence-ethereum-registry/1", showRegistry],
]);

function examineEthereum(receipt, commitment, trusted) {
  demand(/^eip155:[1-9][0-9]{0,15}$/.test(receipt.network_id), "the receipt's network_id is no EIP-155 chain id");
  demand(/^0x[0-9a-f]{64}$/.test(receipt.reference), "the receipt's reference is no transaction hash");
  const format = receipt.evidence.get("format");
  const embedded = format === "mrv-evidence-ethereum/1" && receipt.network_id === EMBEDDED_ID;
  const notEmbedded = format !== "mrv-evidence-ethereum/1" && receipt.network_id !== EMBEDDED_ID;
  demand(receipt.embedded ? embedded : notEmbedded, "the receipt is not clear about whether its chain is embedded");
  if (receipt.evidence.size === 0 || format === PENDING_FORMAT) return examineWaiting(receipt, commitment);
  demand(ETHEREUM_FORMATS.has(format), "the evidence has a format that this version does not know");
  const { header, time: blockTime, remaining, facts } = ETHEREUM_FORMATS.get(format)(receipt, commitment);
  demand(receipt.block_time === blockTime, `the receipt's block time is not the one shown, ${blockTime}`);
  const block = hex(header.hash);
  const found = { block, time: blockTime, remaining, facts };
  if (trusted.blocks.includes(block)) return shown(receipt, { ...found, trusts: [`block 0x${block}`] });
  const where = receipt.embedded ? "the embedded chain of the folder it was made in" : receipt.network_id;
  return shown(receipt, { ...found, remaining: [`that block 0x${block} (${header.number}) is in ${where}`, ...remaining] });
}

const PENDING_FORMAT = "mrv-evidence-ethereum-pending/1";
const pendingEvidence = (value) => record(value, "evidence", { format: constant(PENDING_FORMAT), transaction: zeroX });

/** A transaction that was in no block yet, or is merely named. */
function examineWaiting(receipt, commitment) {
  const waits = receipt.state === "PENDING" && receipt.block_time === null;
  demand(waits, `the receipt claims to be ${receipt.state}, and has no evidence of a block`);
  const facts = {};
  if (receipt.evidence.size > 0) {
    const raw = pendingEvidence(receipt.evidence).transaction;
    const { input, chainId } = parseEthereumTransaction(raw);
    demand(receipt.reference === `0x${hex(keccak256(raw))}`, "the evidence is about another transaction");
    demand(receipt.network_id === `eip155:${chainId}`, "the transaction is bound to another chain");
    const registered = statedByRegistering(input);
    const stated = statedByCall(input) ?? registered?.commitment ?? statedByData(input);
    demand(stated === commitment.text, "the transaction is about something else");
    if (registered !== null) facts.mrv_id = registered.id;
  }
  return shown(receipt, { remaining: [`whether transaction ${receipt.reference} is in ${receipt.network_id}`], facts });
}

/** The commitment in a call `storeHash(bytes32,string)` (Solidity ABI specification), or null. */
function statedByCall(data) {
  const isCall = same(data.subarray(0, 4), STORE_HASH) && data.length >= 100;
  if (!isCall || number(data.subarray(36, 68)) !== 64n) return null;
  const size = number(data.subarray(68, 100));
  if (BigInt(data.length) !== 100n + ((size + 31n) / 32n) * 32n) return null;
  return commitmentOf(data.subarray(4, 36), data.subarray(100, 100 + Number(size)));
}

/** Id and commitment in a call `registerMRV(string,bytes32)` of an id that the contract takes, or null. */
function statedByRegistering(data) {
  const isCall = same(data.subarray(0, 4), REGISTER_MRV) && data.length >= 100;
  if (!isCall || number(data.subarray(4, 36)) !== 64n) return null;
  const size = number(data.subarray(68, 100));
  if (BigInt(data.length) !== 100n + ((size + 31n) / 32n) * 32n) return null;
  const id = data.subarray(100, 100 + Number(size)).toString("latin1");
  return /^[!-~]{1,128}$/.test(id) ? { id, commitment: `sha256:${hex(data.subarray(36, 68))}` } : null;
}

/** The commitment in data that are nothing but the tag and 32 bytes, or null. */
function statedByData(data) {
  const ours = data.length === 36 && same(data.subarray(0, 4), ascii("MRV1"));
  return ours ? `sha256:${hex(data.subarray(4))}` : null;
}

// Names of the fields of a signed transaction by type: EIP-155, EIP-2930, EIP-1559, EIP-4844, EIP-7702.
const FEE_FIELDS = ["chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "input", "accessList"];
const SIGNATURE_FIELDS = ["yParity", "r", "s"];
const TRANSACTION_FIELDS = [
  ["nonce", "gasPrice", "gas", "to", "value", "input", "v", "r", "s"],
  ["chainId", "nonce", "gasPrice", "gas", "to", "value", "input", "accessList", ...SIGNATURE_FIELDS],
  [...FEE_FIELDS, ...SIGNATURE_FIELDS],
  [...FEE_FIELDS, "maxFeePerBlobGas", "blobVersionedHashes", ...SIGNATURE_FIELDS],
  [...FEE_FIELDS, "authorizationList", ...SIGNATURE_FIELDS],
];
const NO_NUMBERS = ["to", "input", "accessList", "blobVersionedHashes", "authorizationList"];

function parseEthereumTransaction(raw) {
  demand(raw.length > 0 && raw[0] !== 0, "a transaction is empty, or of type 0 with its type");
  const kind = raw[0] < 0x80 ? raw[0] : 0;
  demand(kind < TRANSACTION_FIELDS.length, `transactions of type ${raw[0]} are not known`);
  const names = TRANSACTION_FIELDS[kind];
  const items = rlpList(decodeRlp(kind > 0 ? raw.subarray(1) : raw), "transaction", names.length);
  const fields = new Map(names.map((name, i) => [name, items[i]]));
  const [to, input] = [rlpBytes(fields.get("to"), "to"), rlpBytes(fields.get("input"), "input")];
  demand(to.length === 0 || to.length === 20, "a transaction's receiver is not an address");
  const numbers = new Map();
  for (const [name, item] of fields) if (!NO_NUMBERS.includes(name)) numbers.set(name, rlpInteger(item, name));
  let mark = numbers.get("yParity");
  let chainId = numbers.get("chainId");
  let unsigned = items.slice(0, -3);
  if (kind === 0) {
    const v = numbers.get("v");
    demand(v >= 35n || v === 27n || v === 28n, "the transaction's signature is out of range");
    chainId = v >= 35n ? (v - 35n) / 2n : null;
    mark = v >= 35n ? v - 35n - 2n * chainId : v - 27n;
    if (chainId !== null) unsigned = [...unsigned, integerBytes(chainId), Buffer.alloc(0), Buffer.alloc(0)];
  }
  const signed = keccak256(kind > 0 ? Buffer.of(kind) : Buffer.alloc(0), encodeRlp(unsigned));
  return { to, input, chainId, signed, mark, r: numbers.get("r"), s: numbers.get("s") };
}

// The curve secp256k1 (SEC 2, section 2.4.1).
const PRIME = 2n ** 256n - 2n ** 32n - 977n;
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const GENERATOR = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
];

const modulo = (value, by = PRIME) => ((value % by) + by) % by;

function power(base, exponent) {
  let result = 1n;
  for (let [square, rest] = [modulo(base), exponent]; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % PRIME;
    square = (square * square) % PRIME;
  }
  return result;
}

function inverse(value, by) {
  let [low, high, a, b] = [modulo(value, by), by, 1n, 0n];
  while (low > 1n) {
    const quotient = high / low;
    [low, high, a, b] = [high - quotient * low, low, b - quotient * a, a];
  }
  return modulo(a, by);
}

/** Add two points of the curve, each a pair or null for the point at infinity. */
function addPoints(one, other) {
  if (one === null || other === null) return one ?? other;
  const [[x1, y1], [x2, y2]] = [one, other];
  if (x1 === x2 && modulo(y1 + y2) === 0n) return null;
  const slope = x1 === x2 ? 3n * x1 * x1 * inverse(2n * y1, PRIME) : (y2 - y1) * inverse(x2 - x1, PRIME);
  const x = modulo(slope * slope - x1 - x2);
  return [x, modulo(slope * (x1 - x) - y1)];
}

function multiplyPoint(point, factor) {
  let [total, power2] = [null, point];
  for (let rest = factor; rest > 0n; rest >>= 1n) {
    if (rest & 1n) total = addPoints(total, power2);
    power2 = addPoints(power2, power2);
  }
  return total;
}

/** The address that signed a transaction (SEC 1, section 4.1.6), in the one form of a signature that EIP-2 allows. */
function senderOf({ signed, mark, r, s }) {
  const inRange = (mark === 0n || mark === 1n) && r > 0n && r < ORDER && s > 0n && s <= ORDER / 2n;
  demand(inRange, "the transaction's signature is out of range");
  const square = modulo(r * r * r + 7n);
  const root = power(square, (PRIME + 1n) / 4n);
  demand((root * root) % PRIME === square, "the transaction's signature is no point of the curve");
  const point = [r, root % 2n === mark ? root : PRIME - root];
  const back = inverse(r, ORDER);
  const fromSignature = multiplyPoint(point, modulo(s * back, ORDER));
  const fromMessage = multiplyPoint(GENERATOR, modulo(-number(signed) * back, ORDER));
  const key = addPoints(fromSignature, fromMessage);
  demand(key !== null, "the transaction's signature belongs to no key");
  const coordinates = key.map((value) => value.toString(16).padStart(64, "0")).join("");
  return keccak256(Buffer.from(coordinates, "hex")).subarray(12);
}

// --- IPFS: docs/networks/ipfs.md --------------------------------------------------------------------------------

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const RAW = 0x55n;
const DAG_PB = 0x70n;

function toBase58(bytes) {
  let digits = "";
  for (let number = BigInt(`0x0${hex(bytes)}`); number > 0n; number /= 58n) digits = BASE58[Number(number % 58n)] + digits;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros < 0 ? bytes.length : zeros) + digits;
}

function fromBase58(value) {
  let number = 0n;
  for (const character of value) number = number * 58n + BigInt(BASE58.indexOf(character));
  const zeros = /^1*/.exec(value)[0].length;
  const digits = number === 0n ? "" : number.toString(16);
  return concat(Buffer.alloc(zeros), Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex"));
}

function toBase32(bytes) {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{1,5}/g) ?? []).map((group) => BASE32[parseInt(group.padEnd(5, "0"), 2)]).join("");
}

function fromBase32(value) {
  const bits = [...value].map((character) => BASE32.indexOf(character).toString(2).padStart(5, "0")).join("");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2)));
}

const unpadded = (value) => value.replace(/=+$/, "");
// Multibase prefix: how bytes are written, and how they are read back; reading is believed where writing agrees.
const BASES = new Map([
  ["B", [(bytes) => toBase32(bytes).toUpperCase(), (value) => fromBase32(value.toLowerCase())]],
  ["F", [(bytes) => hex(bytes).toUpperCase(), (value) => Buffer.from(value, "hex")]],
  ["b", [toBase32, fromBase32]],
  ["f", [hex, (value) => Buffer.from(value, "hex")]],
  ["m", [(bytes) => unpadded(bytes.toString("base64")), (value) => Buffer.from(value, "base64")]],
  ["u", [(bytes) => bytes.toString("base64url"), (value) => Buffer.from(value, "base64url")]],
  ["z", [toBase58, fromBase58]],
]);

function readVarint(bytes, start) {
  let value = 0n;
  for (let i = 0; i < 9 && start + i < bytes.length; i++) {
    const byte = bytes[start + i];
    value |= BigInt(byte & 0x7f) << BigInt(7 * i);
    if (byte < 0x80) {
      demand(byte !== 0 || i === 0, "a varint of the CID is not in its shortest form");
      return [value, start + i + 1];
    }
  }
  throw new Wrong("a varint of the CID is cut off or too long");
}

/** A CID in any common spelling: `{ codec, digest }`. Only sha2-256 at its full length is accepted. */
function parseCid(value) {
  const formed = /^[\x00-\x7f]{2,128}$/.test(value) && (value.startsWith("Qm") || BASES.has(value[0]));
  demand(formed, `${short(value, 60)} is not a CID`);
  const isVersion0 = value.startsWith("Qm");
  const [write, read] = BASES.get(isVersion0 ? "z" : value[0]);
  const body = isVersion0 ? value : value.slice(1);
  const alphabet = isVersion0 || value[0] === "z" ? /^[1-9A-HJ-NP-Za-km-z]*$/ : /^/;
  demand(alphabet.test(body), `${short(value, 60)} has characters that its base does not have`);
  const bytes = read(body);
  demand(write(bytes) === body, `${short(value, 60)} is not the one spelling of its bytes`);
  let [codec, place] = [DAG_PB, 0];
  if (!isVersion0) {
    const [version, afterVersion] = readVarint(bytes, 0);
    demand(version === 1n, "the CID has an unknown version");
    [codec, place] = readVarint(bytes, afterVersion);
  }
  const [algorithm, afterAlgorithm] = readVarint(bytes, place);
  const [length, start] = readVarint(bytes, afterAlgorithm);
  demand(algorithm === 0x12n && length === 32n && bytes.length === start + 32, "the CID is not one of full sha2-256");
  return { codec, digest: bytes.subarray(start) };
}

const ipfsEvidence = (value) => record(value, "evidence", { format: constant("mrv-ipfs-evidence/1"), block: text });
const statement = (value) =>
  record(value, "statement", { format: constant("mrv-statement/1"), commitment: digest, metadata: object });

function examineIpfs(receipt, commitment) {
  checkClaims(receipt, { network_id: "ipfs", state: "FINAL", block_time: null });
  const cid = parseCid(receipt.reference);
  const block = utf8(ipfsEvidence(receipt.evidence).block);
  const stated = parseCanonical(block, "statement", 1024 * 1024, statement).commitment;
  demand(cid.codec === RAW && same(cid.digest, sha256(block)), "the block has another CID");
  demand(stated.text === commitment.text, `the block states ${stated.text}`);
  const remaining = `that somebody still keeps the block ${receipt.reference}: compare its SHA-256 with ${hex(cid.digest)}`;
  return shown(receipt, { remaining: [remaining] });
}

// --- the bundle: docs/spec/bundle.md ----------------------------------------------------------------------------

const EXAMINERS = new Map([
  ["bitcoin", examineBitcoin],
  ["ethereum", examineEthereum],
  ["ipfs", examineIpfs],
  ["log", examineLog],
]);

const receipt = (value, what) =>
  record(value, what, {
    format: constant("mrv-receipt/1"), network: text, driver: text, network_id: text, embedded: flag, commitment: digest,
    state: oneOf("PENDING", "INCLUDED", "FINAL"), reference: text, submitted_at: time, block_time: orNull(time),
    evidence: object,
  });
const branches = (value, what) => record(value, what, { data: hash, model: hash, training: hash });

/** Step 1: exactly the canonical bytes of a bundle of this version, with the seal that fits. */
function parseBundle(bytes, name) {
  const value = parseJson(bytes, name, MAX_BUNDLE_BYTES);
  if (!(value instanceof Map) || value.get("format") !== "mrv-bundle/1") {
    throw new Usage(`${name} is not a bundle: its format is not mrv-bundle/1`);
  }
  demand(same(canonicalBytes(value), bytes), `${name}: not in canonical form (RFC 8785)`);
  const bundle = record(value, name, {
    format: constant("mrv-bundle/1"), run_id: text, phase: text, root: digest, branches, proof: orNull(inclusionProof),
    batch: orNull(batchProof), receipts: mapping(receipt), seal: digest,
  });
  const sealed = new Map([...value].filter(([field]) => field !== "seal"));
  const seal = `sha256:${hex(sha256(canonicalBytes(sealed)))}`;
  demand(seal === bundle.seal.text, `${name}: changed after it was written: its seal does not fit`);
  bundle.anchored = bundle.batch === null ? bundle.root : bundle.batch.batch;
  return bundle;
}

function checkRoot(bundle, expected) {
  const { data, model, training } = bundle.branches;
  const computed = runRoot(bundle.run_id, bundle.phase, 3, treeRoot([data, model, training]));
  const fits = bundle.root.algorithm === "sha256" && same(computed, bundle.root.bytes);
  demand(fits, "run id, phase and branches make another root");
  demand(expected === null || expected === bundle.root.text, "it is not the expected root");
  return bundle.root.text;
}

function checkLeaf({ proof, root, run_id: runId, phase }) {
  if (proof === null) return null;
  checkInclusionProof(proof, root);
  demand(proof.run_id === runId && proof.phase === phase, "the proof is of another run or phase than the bundle");
  return `${proof.path}, ${proof.kind}`;
}

function checkBatch({ batch, root }) {
  if (batch === null) return null;
  checkBatchProof(batch, root);
  return `member ${batch.index} of ${batch.size} of ${batch.batch.text}`;
}

function checkReceipts({ receipts, anchored }) {
  for (const [network, { network: own, commitment }] of receipts) {
    demand(own === network, `the receipt under ${short(network, 80)} is of network ${short(own, 80)}`);
    demand(commitment.text === anchored.text, `the receipt of ${short(network, 80)} is for another commitment`);
  }
  return `${receipts.size} receipts for ${anchored.text}`;
}

/** Step 6 for one receipt: its verdict, and what remains to be asked or trusted. */
function examine(network, one, commitment, trusted) {
  const known = { network, driver: one.driver, network_id: one.network_id, reference: one.reference };
  const open = { state: one.state, block_hash: null, block_time: null, trusts: [], facts: {} };
  open.remaining = [`that ${one.reference} on ${one.network_id} is an anchor of ${commitment.text}`];
  const unchecked = one.state === "PENDING" ? "PENDING" : "UNREACHABLE";
  const examiner = EXAMINERS.get(one.driver);
  try {
    demand(one.commitment.text === commitment.text, `the receipt is for ${one.commitment.text}`);
    if (examiner === undefined) throw new CannotCheck(`nothing of it can be checked here: driver ${one.driver}`);
    const blocks = ["", one.network_id].flatMap((chain) => trusted.blocks.get(chain) ?? []);
    const found = examiner(one, commitment, { ...trusted, blocks });
    const settled = found.remaining.length > 0 ? "UNREACHABLE" : "VALID";
    const verdict = found.state === "PENDING" ? "PENDING" : settled;
    if (verdict === "PENDING" && found.remaining.length === 0) found.remaining.push("that the network includes it");
    return { ...known, ...found, verdict, detail: DETAILS[verdict] };
  } catch (error) {
    if (error instanceof Usage) throw error;
    if (error instanceof Wrong) return { ...known, ...open, remaining: [], verdict: "TAMPERED", detail: error.message };
    const detail = error instanceof CannotCheck ? error.message : `defect of this program: ${error.message}`;
    return { ...known, ...open, verdict: unchecked, detail };
  }
}

const DETAILS = {
  PENDING: "the network had not included it when the receipt was written",
  UNREACHABLE: "the evidence holds by itself; something remains to be asked or trusted",
  VALID: "the evidence holds by itself, and what it rests on is trusted",
};

const SEVERITY = ["TAMPERED", "DISAGREE", "NOT_FOUND", "UNREACHABLE", "PENDING", "VALID"];
const worst = (verdicts) => SEVERITY.find((verdict) => verdicts.includes(verdict)) ?? null;

/** Every required receipt must be valid; any other can only contradict. */
function combine(required, others) {
  const everything = [...required, ...others];
  if (everything.includes("TAMPERED")) return everything.includes("VALID") ? "DISAGREE" : "TAMPERED";
  if (required.length === 0) return "NOT_FOUND";
  return worst(required);
}

function verifyBundle(bytes, name, options) {
  const steps = [];
  const attempt = (title, check) => {
    let [verdict, detail] = ["VALID", null];
    try {
      detail = check();
      if (detail === null) [verdict, detail] = [null, "nothing to do"];
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      [verdict, detail] = ["TAMPERED", error.message];
    }
    steps.push({ number: steps.length + 1, name: title, verdict, detail });
  };

  let bundle = null;
  attempt("Parse the bundle within limits", () => {
    bundle = parseBundle(bytes, name);
    return `${bytes.length} bytes, ${bundle.receipts.size} receipts`;
  });
  if (bundle === null) return { verdict: "TAMPERED", summary: steps[0].detail, steps, networks: [] };
  const names = [...bundle.receipts.keys()].sort();
  const wanted = options.networks ?? names;
  for (const each of wanted) {
    if (!bundle.receipts.has(each)) throw new Usage(`the bundle has no receipt of ${short(each, 80)}`);
  }
  attempt("Run id, phase and branches make the root", () => checkRoot(bundle, options.root));
  attempt("The leaf is under the root", () => checkLeaf(bundle));
  attempt("The root is in the batch", () => checkBatch(bundle));
  attempt("Each receipt commits to what was anchored", () => checkReceipts(bundle));
  const wrong = steps.find(({ verdict }) => verdict === "TAMPERED");

  const { trusted } = options;
  const networks = names.map((each) => examine(each, bundle.receipts.get(each), bundle.anchored, trusted));
  const verdictOf = new Map(networks.map(({ network, verdict }) => [network, verdict]));
  const [required, others] = [wanted, names.filter((each) => !wanted.includes(each))].map((group) =>
    group.map((each) => verdictOf.get(each)),
  );
  const examined = worst([...verdictOf.values()]);
  const verdict = wrong ? "TAMPERED" : combine(required, others);
  const inWords = examined === null ? "the bundle has no receipt" : [...verdictOf].map((pair) => pair.join(" ")).join(", ");
  steps.push({ number: 6, name: "Each receipt's evidence holds by itself", verdict: examined, detail: inWords });
  steps.push({ number: 7, name: "The networks are asked", verdict: null, detail: "no network was asked" });
  const rule = options.networks ? `the receipts of ${wanted.join(", ")} must be valid` : "every receipt must be valid";
  steps.push({ number: 8, name: "The rule decides", verdict, detail: rule });

  const { proof } = bundle;
  const leaf = proof && { path: proof.path, kind: proof.kind, digest: proof.digest?.text ?? null };
  const facts = { run_id: bundle.run_id, phase: bundle.phase, root: bundle.root.text, anchored: bundle.anchored.text };
  const summary = wrong ? `${wrong.name}: ${wrong.detail}` : inWords;
  return { verdict, summary, ...facts, leaf, steps, networks };
}

/** What a verifier trusts, out of the words of `--block`, `--log-key`, `--min-work`, `--root` and `--network`. */
function readOptions(found) {
  const blocks = new Map(); // network id, or "" for any, to block hashes
  for (const value of found["--block"]) {
    const match = /^(?:([!-~]+):)?(?:0[xX])?([0-9a-fA-F]{64})$/.exec(value);
    if (match === null) throw new Usage(`${short(value)} is no block hash`);
    const [, network = "", block] = match;
    blocks.set(network, [...(blocks.get(network) ?? []), block.toLowerCase()]);
  }
  const logKeys = [...new Set(found["--log-key"])].sort();
  const formed = logKeys.every((value) => KEY_NAME.test(value.split("+", 1)[0]) && LOG_KEY.test(value));
  if (!formed) throw new Usage("a --log-key is not of the form name+id+key");
  const [work = null] = found["--min-work"].slice(-1);
  const inRange = work === null || (/^[0-9]{1,3}$/.test(work) && Number(work) >= 1 && Number(work) <= 256);
  if (!inRange) throw new Usage("--min-work is not a number from 1 to 256");
  const [root = null] = found["--root"].slice(-1);
  try {
    if (root !== null) digest(root, "--root");
  } catch (error) {
    throw new Usage(error.message);
  }
  const networks = found["--network"].length > 0 ? [...new Set(found["--network"])] : null;
  return { root, networks, trusted: { blocks, logKeys, minWork: work === null ? null : Number(work) } };
}

export {
  CannotCheck, JsonReader, MAX_BUNDLE_BYTES, REGISTRY_CODE_HASHES, Usage, Wrong, anything, batchProof,
  canonicalBytes, checkBatchProof, checkInclusionProof, combine, constant, demand, digest, examine, fromHex, hex,
  inclusionProof, integer, keccak256, leafHash, list, mapping, nodeHash, object, oneOf, orNull, parseJson,
  readOptions, receipt, record, rootFromInclusion, same, secondsText, sha256, short, text, time, utf8, verifyBundle,
  worst,
};

// --- the command line -------------------------------------------------------------------------------------------

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { basename } from "node:path";
import process from "node:process";

const EXIT_CODES = { VALID: 0, TAMPERED: 1, DISAGREE: 1, PENDING: 3, UNREACHABLE: 4, NOT_FOUND: 5 };
const USAGE_CODE = 2;
const WORST_CODES = [1, 2, 5, 4, 3, 0];
const HELP = `usage: node verify_bundle.mjs [options] FILE...

  --block [NETWORK_ID:]HASH
                    hash of a block that you know to be in the chain (of NETWORK_ID); may be repeated
  --log-key VKEY    verifier key of a log, from a source of your own; may be repeated
  --min-work BITS   believe a block header that cost 2^BITS expected hashes or more
  --root DIGEST     the run's root that you expect, as algorithm:hex
  --network NAME    only this network's receipt must be valid; may be repeated
  --json            one JSON document a line, one line a file
`;

function parseArguments(words) {
  const found = { "--block": [], "--log-key": [], "--min-work": [], "--root": [], "--network": [] };
  const files = [];
  let asJson = false;
  for (let i = 0; i < words.length; i++) {
    const [option, ...inline] = words[i].startsWith("--") ? words[i].split("=") : [words[i]];
    if (option === "--help" || option === "-h") return null;
    if (option === "--json" && inline.length === 0) asJson = true;
    else if (Object.hasOwn(found, option)) found[option].push(inline.length > 0 ? inline.join("=") : words[++i]);
    else if (option.startsWith("-")) throw new Usage(`there is no option ${option}`);
    else files.push(option);
    if (words.length <= i) throw new Usage(`${option} needs a value`);
  }
  if (files.length === 0) throw new Usage("name a bundle; see --help");
  return { files, asJson, ...readOptions(found) };
}

/** Read at most one byte more than a bundle may have; never wait for a pipe or a device. */
function readFile(path) {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const state = fstatSync(file);
      if (!state.isFile()) throw new CannotCheck(`cannot read ${path}: not a regular file`);
      const bytes = Buffer.alloc(Math.min(state.size, MAX_BUNDLE_BYTES) + 1);
      let length = 0;
      for (let read = 1; read > 0 && length < bytes.length; length += read) read = readSync(file, bytes, length, bytes.length - length, null);
      return bytes.subarray(0, length);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error.code === "ENOENT") throw new Usage(`there is no bundle ${path}`);
    throw error.code === undefined ? error : new CannotCheck(`cannot read ${path}: ${error.code}`);
  }
}

function verifyFile(path, options) {
  try {
    const result = verifyBundle(readFile(path), basename(path), options);
    return { file: path, exit_code: EXIT_CODES[result.verdict], ...result };
  } catch (error) {
    if (error instanceof Usage) return { file: path, exit_code: USAGE_CODE, error: error.message };
    const message = error instanceof CannotCheck ? error.message : `defect of this program: ${error.stack}`;
    return { file: path, exit_code: EXIT_CODES.UNREACHABLE, error: message };
  }
}

/** Write out what acts on a terminal or hides. */
function visible(value) {
  return String(value).replace(/[^\x20-\x7e]/gu, (character) => JSON.stringify(character).slice(1, -1) === character
    ? `\\u{${character.codePointAt(0).toString(16)}}`
    : JSON.stringify(character).slice(1, -1));
}

function print(result) {
  const say = (line) => console.log(visible(line));
  if (result.error !== undefined) return console.error(visible(`error: ${result.file}: ${result.error}`));
  say(`${result.verdict.replace("_", " ")}  ${result.file}: ${result.summary}`);
  if (result.root !== undefined) say(`  run ${result.run_id}, phase ${result.phase}, root ${result.root}`);
  if (result.leaf) say(`  leaf ${result.leaf.path}, ${result.leaf.kind}, ${result.leaf.digest ?? "no digest"}`);
  for (const { number, name, verdict, detail } of result.steps) say(`  ${number}. ${name}: ${verdict ?? "-"}  ${detail}`);
  for (const network of result.networks) {
    say(`  ${network.verdict}  ${network.network} (${network.network_id}): ${network.detail}`);
    if (network.block_time !== null) say(`     block ${network.block_hash} of ${network.block_time}`);
    for (const sentence of network.remaining) say(`     remains: ${sentence}`);
    for (const sentence of network.trusts) say(`     trusts: ${sentence}, given by you`);
  }
}

function main(words) {
  let options;
  try {
    options = parseArguments(words);
  } catch (error) {
    if (!(error instanceof Usage)) throw error;
    console.error(visible(`error: ${error.message}`));
    return USAGE_CODE;
  }
  if (options === null) {
    process.stdout.write(HELP);
    return 0;
  }
  const codes = options.files.map((path) => {
    const result = verifyFile(path, options);
    if (options.asJson) console.log(JSON.stringify(result));
    else print(result);
    return result.exit_code;
  });
  return WORST_CODES.find((code) => codes.includes(code));
}

process.exitCode = main(process.argv.slice(2));
