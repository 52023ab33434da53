# SPDX-License-Identifier: MIT
"""Block headers: what evidence reads in them, and the way from a node's JSON back to the bytes that are hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mrv_backends_eth import rlp, values
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import FormatError, VerificationError

_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31, the last day `datetime` knows

_FIELDS: Final[tuple[tuple[str, int | None], ...]] = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", None),
    ("number", None),
    ("gasLimit", None),
    ("gasUsed", None),
    ("timestamp", None),
    ("extraData", -1),
    ("mixHash", 32),
    ("nonce", 8),
)
"""Fields of every header in their order, and their sizes: None for a quantity, -1 for any number of bytes."""
_LATER_FIELDS: Final[tuple[tuple[str, int | None], ...]] = (
    ("baseFeePerGas", None),  # London: EIP-1559
    ("withdrawalsRoot", 32),  # Shanghai: EIP-4895
    ("blobGasUsed", None),  # Cancun: EIP-4844
    ("excessBlobGas", None),
    ("parentBeaconBlockRoot", 32),  # Cancun: EIP-4788
    ("requestsHash", 32),  # Prague: EIP-7685
)
"""Fields that forks appended, in their order; a header has the first of them up to its fork."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a block header that evidence builds on.

    Attributes:
        hash: Keccak-256 of its RLP.
        state_root, transactions_root, receipts_root: Roots of the block's three tries.
        number: Block number.
        timestamp: Block time, seconds since 1970.
        base_fee: Least wei for a unit of gas in this block; None before London.
    """

    hash: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    number: int
    timestamp: int
    base_fee: int | None = None

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read a header of any fork since Frontier: later forks only append fields.

        Raises:
            VerificationError: not a block header.
        """
        fields = rlp.decode_list(data, what="block header")
        if len(fields) < len(_FIELDS):
            raise VerificationError(f"block header has {len(fields)} fields, fewer than Ethereum ever had")
        state, transactions, receipts = (rlp.as_bytes(field, what="root", size=32) for field in fields[3:6])
        number, timestamp = rlp.as_int(fields[8], what="number"), rlp.as_int(fields[11], what="block time")
        if timestamp > _LAST_SECOND:
            raise VerificationError("block time is beyond the year 9999")
        base_fee = rlp.as_int(fields[15], what="base fee") if len(fields) > len(_FIELDS) else None
        return cls(keccak256(data), state, transactions, receipts, number, timestamp, base_fee)


def read_header(block: Mapping[str, Any]) -> tuple[bytes, Header]:
    """Return the header in a block's JSON, as RLP and read.

    Raises:
        FormatError: a field is missing or malformed, or what results has not the hash that the JSON names. That is so
            too where a chain has fields of its own.
    """
    present = [(name, size) for name, size in _LATER_FIELDS if block.get(name) is not None]
    data = rlp.encode([_item(block, name, size) for name, size in (*_FIELDS, *present)])
    header = Header.parse(data)
    if header.hash != values.data(block.get("hash"), "block hash", 32):
        raise FormatError("the fields of the block do not hash to its hash")
    return data, header


def _item(block: Mapping[str, Any], name: str, size: int | None) -> bytes:
    value = block.get(name)
    if size is None:
        return rlp.int_bytes(values.quantity(value, name))
    return values.data(value, name, None if size < 0 else size)
