# SPDX-License-Identifier: MIT
"""Values as nodes write them into JSON (Ethereum execution API specification): quantities and data.

Read a little more widely than specified, with leading zeros and capital digits: whatever matters is encoded again
and compared with a hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mrv_core.errors import FormatError

_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def fields(value: Any, what: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        FormatError: it is none.
    """
    if not isinstance(value, dict):
        raise FormatError(f"{what} is no object")
    return value


def quantity(value: Any, what: str) -> int:
    """Return an unsigned integer of at most 256 bits.

    Raises:
        FormatError: it is none.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise FormatError(f"{what} is no quantity")
    return int(value, 16)


def data(value: Any, what: str, size: int | None = None) -> bytes:
    """Return bytes, `size` of them where it is given.

    Raises:
        FormatError: they are none.
    """
    if not isinstance(value, str) or not _DATA.fullmatch(value) or (size is not None and len(value) != 2 + 2 * size):
        raise FormatError(f"{what} is no data" + (f" of {size} bytes" if size is not None else ""))
    return bytes.fromhex(value[2:])


def address_text(address: bytes) -> str:
    """Write an address with its checksum in the case of the letters (EIP-55)."""
    from mrv_backends_eth.keccak import keccak256

    digits = address.hex()
    checksum = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) > 7 else digit for digit, mark in zip(digits, checksum, strict=False)
    )
