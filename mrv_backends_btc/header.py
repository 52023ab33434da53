# SPDX-License-Identifier: MIT
"""Block headers and the work in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mrv_backends_btc.bytereader import ByteReader, displayed, double_sha256
from mrv_core.errors import FormatError, VerificationError

HEADER_SIZE: Final = 80


@dataclass(frozen=True, slots=True)
class Header:
    """A block header.

    Attributes:
        data: Its 80 bytes.
        previous: Hash of the block before it, internal byte order.
        merkle_root: Root over the block's transaction ids, internal byte order.
        time: What its miner says, UTC. Nodes accept it if it is above the median of the eleven blocks before and at
            most two hours ahead of their own clock.
        bits: Target in compact form.
    """

    data: bytes
    previous: bytes
    merkle_root: bytes
    time: datetime
    bits: int

    @property
    def hash(self) -> bytes:
        """The block's hash, internal byte order."""
        return double_sha256(self.data)

    @property
    def hash_hex(self) -> str:
        """The block's hash as explorers show it."""
        return displayed(self.hash)

    @property
    def work(self) -> int:
        """Expected number of hashes that a header with this target costs.

        Raises:
            FormatError: `bits` is no target.
        """
        return expected_hashes(target(self.bits))

    def check_work(self, *, easiest_bits: int | None = None) -> None:
        """Check that the hash meets the header's own target, which anyone can choose: compare `work` with a floor.

        Args:
            easiest_bits: Largest target that a block of the chain may have, compact; None where that is not known.

        Raises:
            VerificationError: no target, an easier one than the chain allows, or the hash is above it.
        """
        try:
            limit = target(self.bits)
        except FormatError as error:
            raise VerificationError(f"the block header {self.hash_hex}: {error.message}") from error
        if easiest_bits is not None and limit > target(easiest_bits):
            raise VerificationError(f"the block header {self.hash_hex} is of an easier chain than the one claimed")
        if int.from_bytes(self.hash, "little") > limit:
            raise VerificationError(f"the block header {self.hash_hex} does not have the work that it claims")


def parse_header(data: bytes) -> Header:
    """Read a header.

    Raises:
        FormatError: not 80 bytes.
    """
    reader = ByteReader(data, "block header")
    reader.take(4)
    previous, merkle_root = reader.take(32), reader.take(32)
    time, bits = datetime.fromtimestamp(reader.integer(4), UTC), reader.integer(4)
    reader.take(4)
    reader.end()
    return Header(data, previous, merkle_root, time, bits)


def target(bits: int) -> int:
    """Return the target in a compact form: its 23-bit mantissa times 256 to the power of (first byte - 3).

    Raises:
        FormatError: negative, zero, or beyond 256 bits, which no node accepts.
    """
    exponent, mantissa = bits >> 24, bits & 0x7F_FFFF
    value = mantissa << 8 * (exponent - 3) if exponent > 3 else mantissa >> 8 * (3 - exponent)
    if bits & 0x80_0000 or not 0 < value < 1 << 256:
        raise FormatError(f"{bits:08x} is no target of a block")
    return value


def expected_hashes(limit: int) -> int:
    """Return how many hashes it takes on average to find one that is at most `limit`."""
    return (1 << 256) // (limit + 1)
