// SPDX-License-Identifier: MIT

/** Reading an answer that may be as long as whoever sends it likes. */

/** Read an answer's bytes; null where they are more than `most`, which is noticed before the rest has come. */
export async function limitedBytes(response: Response, most: number, heard: () => void = () => {}): Promise<Uint8Array | null> {
  const reader = response.body?.getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
    heard();
    size += part.value.length;
    if (size > most) {
      await reader?.cancel();
      return null;
    }
    parts.push(part.value);
  }
  const bytes = new Uint8Array(size);
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}
