# SPDX-License-Identifier: MIT
"""Bytes in the documents that we write: `0x` and lower-case hexadecimal digits, and nothing else when read back."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, PlainSerializer

_HEX: Final = re.compile(r"0x(?:[0-9a-f]{2})*")


def to_hex(data: bytes) -> str:
    """Write bytes as Ethereum does: `0x` and lower-case digits."""
    return "0x" + data.hex()


def _parse_hex(value: object) -> object:
    if isinstance(value, str):
        if not _HEX.fullmatch(value):
            raise ValueError("not 0x and lower-case hexadecimal digits")
        return bytes.fromhex(value[2:])
    return value


Hex = Annotated[bytes, BeforeValidator(_parse_hex), PlainSerializer(to_hex, return_type=str)]
Proof = Annotated[tuple[Hex, ...], Field(max_length=64)]  # a trie is at most 64 nibbles deep
