# SPDX-License-Identifier: MIT
"""The one thing that is read of a partially signed transaction (BIP 174): the transaction to be signed."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from mrv_backends_btc.bytereader import ByteReader
from mrv_backends_btc.transaction import MAX_TRANSACTION_BYTES, Transaction, parse_transaction
from mrv_core.errors import FormatError

_MAGIC: Final = b"psbt\xff"
_UNSIGNED_TX: Final = b"\x00"
_MAX_KEY_BYTES: Final = 10_000


def unsigned_transaction(text: str) -> Transaction:
    """Return the transaction that a PSBT (version 0, base64) is about.

    Raises:
        FormatError: malformed, or without one.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError("PSBT: not base64") from None
    reader = ByteReader(data, "PSBT")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise FormatError("PSBT: it does not begin with its magic bytes")
    while key_size := reader.compact_size(_MAX_KEY_BYTES):
        key, value = reader.take(key_size), reader.counted(MAX_TRANSACTION_BYTES)
        if key == _UNSIGNED_TX:
            return parse_transaction(value, what="PSBT")
    raise FormatError("PSBT: it holds no unsigned transaction")
