// SPDX-License-Identifier: MIT

import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** Read one of the vector files that the Python tests read as well. */
export function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(resolve(import.meta.dirname, "../../tests/vectors", name), "utf8")) as T;
}
