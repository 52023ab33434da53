// SPDX-License-Identifier: MIT

/** What scripts/verify_bundle.mjs uses of Node's Buffer, for browsers: `node:buffer` is this module there. */

type Encoding = "utf8" | "latin1" | "hex" | "base64" | "base64url";

/** Bytes with Node's reading and writing methods. Lenient where Node is; the verifier compares what it wrote back. */
export class Buffer extends Uint8Array {
  /** Make a buffer of text in an encoding, or of numbers from 0 to 255. */
  static override from(value: any, encoding?: any, thisArgument?: any): Buffer {
    if (typeof value === "string") return decoded(value, (encoding ?? "utf8") as Encoding);
    return super.from(value as ArrayLike<number>, encoding, thisArgument) as Buffer;
  }

  static alloc(size: number): Buffer {
    return new Buffer(size);
  }

  static concat(parts: readonly Uint8Array[]): Buffer {
    const result = new Buffer(parts.reduce((sum, part) => sum + part.length, 0));
    let place = 0;
    for (const part of parts) {
      result.set(part, place);
      place += part.length;
    }
    return result;
  }

  static compare(left: Uint8Array, right: Uint8Array): -1 | 0 | 1 {
    const common = Math.min(left.length, right.length);
    for (let i = 0; i < common; i++) {
      if (left[i] !== right[i]) return left[i]! < right[i]! ? -1 : 1;
    }
    return left.length === right.length ? 0 : left.length < right.length ? -1 : 1;
  }

  override toString(encoding: Encoding = "utf8"): string {
    if (encoding === "utf8") return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this);
    if (encoding === "hex") return Array.from(this, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const text = latin1(this);
    if (encoding === "latin1") return text;
    const base64 = btoa(text);
    return encoding === "base64" ? base64 : base64.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  }

  override subarray(start?: number, end?: number): Buffer {
    return super.subarray(start, end) as Buffer;
  }

  copy(target: Uint8Array, targetStart = 0, start = 0, end = this.length): void {
    target.set(this.subarray(start, end), targetStart);
  }

  readInt32LE(place: number): number {
    return this.#view().getInt32(place, true);
  }

  readUInt32LE(place: number): number {
    return this.#view().getUint32(place, true);
  }

  readBigUInt64LE(place: number): bigint {
    return this.#view().getBigUint64(place, true);
  }

  writeInt32LE(value: number, place: number): void {
    this.#view().setInt32(place, value, true);
  }

  writeUInt32LE(value: number, place: number): void {
    this.#view().setUint32(place, value, true);
  }

  writeBigUInt64LE(value: bigint, place: number): void {
    this.#view().setBigUint64(place, value, true);
  }

  writeBigUInt64BE(value: bigint): void {
    this.#view().setBigUint64(0, value, false);
  }

  #view(): DataView {
    return new DataView(this.buffer, this.byteOffset, this.byteLength);
  }
}

function decoded(text: string, encoding: Encoding): Buffer {
  if (encoding === "utf8") return Buffer.from(new TextEncoder().encode(text));
  if (encoding === "latin1") {
    const bytes = Buffer.alloc(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }
  if (encoding === "hex") {
    const digits = /^(?:[0-9a-fA-F]{2})*/.exec(text)![0];
    const bytes = Buffer.alloc(digits.length / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
    return bytes;
  }
  const plain = text.replaceAll("-", "+").replaceAll("_", "/").replace(/[^A-Za-z0-9+/].*$/s, "");
  return decoded(atob(plain.slice(0, plain.length - Number(plain.length % 4 === 1))), "latin1");
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  // A call takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return text;
}
