// SPDX-License-Identifier: MIT

/** Base units of a record as integers, and quotients rounded once, halves to even (mrv_core/mrv/units.py). */

const UJ_PER_UWH = 3600n;

/** Divide two integers from zero on, and round halves to even. */
export function roundedQuotient(dividend: bigint, divisor: bigint): bigint {
  const floor = dividend / divisor;
  const twice = 2n * (dividend % divisor);
  const up = twice > divisor || (twice === divisor && floor % 2n === 1n);
  return up ? floor + 1n : floor;
}

/** An energy in µWh, of one in µJ. */
export function uwh(microjoules: bigint): bigint {
  return roundedQuotient(microjoules, UJ_PER_UWH);
}

/** The emissions of an energy in mg CO2e: energy in µWh, factor in mg/kWh, PUE in thousandths. */
export function co2eMg(energyUwh: number, factorMgPerKwh: number, puePermille: number): bigint {
  return roundedQuotient(BigInt(energyUwh) * BigInt(factorMgPerKwh) * BigInt(puePermille), 10n ** 12n);
}

/** The sum of those integers that are known, or null where none is. */
export function sumOf(values: (number | bigint | null)[]): bigint | null {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? known.reduce((sum: bigint, value) => sum + BigInt(value), 0n) : null;
}

/** Tell whether a stated integer is the computed one, both null included. */
export function isEqual(stated: number | null, computed: bigint | null): boolean {
  return stated === null || computed === null ? stated === computed : BigInt(stated) === computed;
}
