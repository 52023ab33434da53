# SPDX-License-Identifier: MIT
"""Reads a raw transaction, with or without witness (BIP 144), strictly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mrv_backends_btc.bytereader import ByteReader, displayed, double_sha256
from mrv_core.errors import FormatError

MAX_TRANSACTION_BYTES: Final = 400_000
"""Largest transaction that nodes relay: 400,000 units of weight, of which a byte has at least one."""
FORBIDDEN_SIZE: Final = 64
"""A transaction of 64 bytes can be read as an inner node of a Merkle tree (CVE-2017-12842)."""
NULL_OUTPOINT: Final = bytes(32) + b"\xff" * 4
"""What a coinbase spends."""
_MAX_ITEMS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Input:
    """What an input spends.

    Attributes:
        outpoint: 36 bytes: transaction id in internal byte order, and output index, little-endian.
        script: Script that unlocks it, without witness.
        sequence: Below 0xFFFFFFFE it lets the transaction be replaced (BIP 125).
    """

    outpoint: bytes
    script: bytes
    sequence: int

    @property
    def txid_hex(self) -> str:
        """Id of the transaction that made the output, as explorers show it."""
        return displayed(self.outpoint[:32])

    @property
    def index(self) -> int:
        """Zero-based index of the output."""
        return int.from_bytes(self.outpoint[32:], "little")


@dataclass(frozen=True, slots=True)
class Output:
    """An amount and who may spend it.

    Attributes:
        value_sat: Amount in satoshis.
        script: Output script.
        offset: Where the script begins in the transaction's bytes without witness.
    """

    value_sat: int
    script: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction.

    Attributes:
        inputs: In order.
        outputs: In order.
        stripped: Its bytes without witness, of which the id is made.
        size: Number of all its bytes, witness included.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    stripped: bytes
    size: int

    @property
    def txid(self) -> bytes:
        """The id: 32 bytes in internal byte order."""
        return double_sha256(self.stripped)

    @property
    def txid_hex(self) -> str:
        """The id as explorers show it."""
        return displayed(self.txid)

    @property
    def vsize(self) -> int:
        """Virtual bytes (BIP 141): a quarter of the weight, rounded up."""
        return (3 * len(self.stripped) + self.size + 3) // 4

    @property
    def is_coinbase(self) -> bool:
        """Whether it is the first of its block, which makes the block's new coins."""
        return len(self.inputs) == 1 and self.inputs[0].outpoint == NULL_OUTPOINT

    @property
    def has_witness(self) -> bool:
        """Whether it was written with a witness."""
        return self.size != len(self.stripped)


def parse_transaction(data: bytes, *, what: str) -> Transaction:
    """Read a transaction.

    Args:
        data: All of its bytes, and nothing else.
        what: Name for messages.

    Raises:
        FormatError: malformed, larger than `MAX_TRANSACTION_BYTES`, of 64 bytes, or with bytes behind it.
    """
    if len(data) > MAX_TRANSACTION_BYTES:
        raise FormatError(f"{what}: {len(data)} bytes are more than a transaction may have")
    reader = ByteReader(data, what)
    version = reader.take(4)
    has_witness = data[4:6] == b"\x00\x01"
    if has_witness:
        reader.take(2)
    start = reader.place
    inputs = tuple(_input(reader) for _ in range(reader.compact_size(_MAX_ITEMS)))
    outputs = tuple(_output(reader, start - 4) for _ in range(reader.compact_size(_MAX_ITEMS)))
    body = data[start : reader.place]
    if has_witness:
        _skip_witness(reader, len(inputs), what)
    locktime = reader.take(4)
    reader.end()
    stripped = version + body + locktime
    if not inputs or not outputs:
        raise FormatError(f"{what}: a transaction without inputs or without outputs")
    if len(stripped) == FORBIDDEN_SIZE:
        raise FormatError(f"{what}: a transaction of 64 bytes can pass for a node of a Merkle tree")
    return Transaction(inputs, outputs, stripped, len(data))


def _input(reader: ByteReader) -> Input:
    return Input(reader.take(36), reader.counted(MAX_TRANSACTION_BYTES), reader.integer(4))


def _output(reader: ByteReader, shift: int) -> Output:
    """Read an output; `shift` is by how much a place in the bytes is further on than in those without witness."""
    value = reader.integer(8)
    length = reader.compact_size(MAX_TRANSACTION_BYTES)
    return Output(value, reader.take(length), reader.place - length - shift)


def _skip_witness(reader: ByteReader, inputs: int, what: str) -> None:
    items = 0
    for _ in range(inputs):
        for _ in range(reader.compact_size(_MAX_ITEMS)):
            reader.counted(MAX_TRANSACTION_BYTES)
            items += 1
    if not items:
        raise FormatError(f"{what}: marked as having a witness, without one")
