# SPDX-License-Identifier: MIT
"""Block headers: real ones, forged ones, and what they must have cost (A07)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from bitcoin.core import compact_from_uint256, uint256_from_compact
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_btc.chains import CHAINS
from mrv_backends_btc.header import Header, parse_header, target
from mrv_backends_btc.offline import check_floor
from mrv_core.errors import FormatError, VerificationError

GENESIS = bytes.fromhex(
    "01000000" + "00" * 32 + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
"""The first block of the main chain, as every node has it built in."""
EASIEST = 0x207FFFFF


def grind(root: bytes, bits: int, time: int = 1_000_000_000) -> Header:
    """Find a header with this Merkle root whose hash meets `bits`, as anyone can."""
    for nonce in range(1 << 20):
        data = (
            bytes(4)
            + bytes(32)
            + root
            + time.to_bytes(4, "little")
            + bits.to_bytes(4, "little")
            + nonce.to_bytes(4, "little")
        )
        if int.from_bytes(sha256(sha256(data).digest()).digest(), "little") <= target(bits):
            return parse_header(data)
    raise AssertionError("no nonce meets the target")


def test_the_first_block_is_read() -> None:
    header = parse_header(GENESIS)
    assert header.hash_hex == CHAINS["main"].genesis
    assert header.time == datetime(2009, 1, 3, 18, 15, 5, tzinfo=UTC)
    assert header.previous == bytes(32)
    header.check_work(easiest_bits=CHAINS["main"].easiest_bits)
    assert header.work == 2**32 + 2**16 + 1  # 2^256 / (0xffff * 2^208 + 1)


def test_the_next_blocks_are_a_chain(vectors: Callable[[str], Path]) -> None:
    lines = vectors("bitcoin/blockheaders-mainnet-1-11.txt").read_text().split()
    previous = parse_header(GENESIS)
    assert len(lines) == 11
    for line in lines:
        header = parse_header(bytes.fromhex(line))
        assert header.previous == previous.hash
        header.check_work(easiest_bits=CHAINS["main"].easiest_bits)
        previous = header


def test_every_flipped_bit_loses_the_work() -> None:
    for bit in range(8 * 80):
        forged = bytearray(GENESIS)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            parse_header(bytes(forged)).check_work(easiest_bits=CHAINS["main"].easiest_bits)


@pytest.mark.parametrize("length", [0, 79, 81, 160])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(FormatError):
        parse_header(bytes(length))


class TestTargets:
    @given(st.integers(0, 2**256 - 1).map(compact_from_uint256))
    def test_as_the_reference_library(self, bits: int) -> None:
        expected = uint256_from_compact(bits)
        if 0 < expected < 2**256:
            assert target(bits) == expected
        else:
            with pytest.raises(FormatError):
                target(bits)

    @pytest.mark.parametrize("bits", [0, 0x01003456, 0x04800001, 0x1D80FFFF, 0x23000001, 0xFF123456, 0x20000000])
    def test_what_no_node_accepts_is_refused(self, bits: int) -> None:
        """Zero, negative, and beyond 256 bits: a header with it has no work, whatever its hash."""
        with pytest.raises(FormatError):
            target(bits)
        data = GENESIS[:72] + bits.to_bytes(4, "little") + GENESIS[76:]
        with pytest.raises(VerificationError, match="no target"):
            parse_header(data).check_work()


class TestForgedHeaders:
    def test_a_header_ground_at_home_is_refused_on_every_chain_but_regtest(self) -> None:
        """Its root is the right one and its hash meets its target, so only the floor tells it from a real one."""
        forged = grind(sha256(b"a real Merkle root").digest(), EASIEST, time=978_307_200)
        forged.check_work()
        for name, chain in CHAINS.items():
            if name == "regtest":
                check_floor(forged, chain)
                continue
            with pytest.raises(VerificationError, match="easier chain"):
                forged.check_work(easiest_bits=chain.easiest_bits)
            with pytest.raises(VerificationError, match="anyone could have made it"):
                check_floor(forged, chain)

    def test_the_first_blocks_of_main_are_below_its_floor(self) -> None:
        """A block of 2009 costs a second today; no anchor of this project is that old."""
        with pytest.raises(VerificationError, match=r"2\^32 hashes, less than the 2\^70"):
            check_floor(parse_header(GENESIS), CHAINS["main"])

    def test_the_floor_can_be_set(self) -> None:
        forged = grind(bytes(32), 0x1F00FFFF)
        assert forged.work == 2**16 + 1
        check_floor(forged, CHAINS["regtest"], 16)
        with pytest.raises(VerificationError):
            check_floor(forged, CHAINS["regtest"], 17)
