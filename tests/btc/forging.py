# SPDX-License-Identifier: MIT
"""Receipts that anyone can make at home, without any node: every hash in them is right, only the work is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from btc.test_btc_header import grind
from btc.test_btc_transaction import build

from mrv_backends_btc.chains import CHAINS
from mrv_backends_btc.payload import output_script
from mrv_core.hashing import Digest
from mrv_core.models import Receipt, ReceiptState

LONG_AGO = 1_262_304_000
"""2010-01-01, as seconds."""


def h(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def coinbase(height: int) -> bytes:
    """Write a coinbase that states a height, as BIP 34 says, and pays nobody."""
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    script = bytes([len(number)]) + number + b"\x00" * 8
    spent = bytes(32) + b"\xff" * 4
    return b"\x02\x00\x00\x00\x01" + spent + bytes([len(script)]) + script + b"\xff" * 4 + b"\x01" + bytes(9) + bytes(4)


def forged_receipt(
    commitment: Digest, chain: str = "regtest", *, bits: int = 0x207FFFFF, height: int = 900_000
) -> Receipt:
    """Make a receipt of a block that was never mined, in 2010, on a chain of one's choice."""
    transaction, first = build([output_script(commitment), b"\x51" * 20]), coinbase(height)
    header = grind(h(h(first) + h(transaction)), bits, LONG_AGO)
    return Receipt(
        network="bitcoin",
        driver="bitcoin",
        network_id=CHAINS[chain].network_id,
        embedded=False,
        commitment=commitment,
        state=ReceiptState.FINAL,
        reference=h(transaction)[::-1].hex(),
        submitted_at=datetime(2010, 1, 1, tzinfo=UTC),
        block_time=datetime.fromtimestamp(LONG_AGO, UTC),
        evidence={
            "format": "mrv-evidence-bitcoin/1",
            "transaction": transaction.hex(),
            "output_index": 0,
            "transaction_index": 1,
            "merkle_branch": [h(first).hex()],
            "coinbase": first.hex(),
            "coinbase_branch": [h(transaction).hex()],
            "header": header.data.hex(),
            "block_hash": header.hash_hex,
            "height": height,
        },
    )
