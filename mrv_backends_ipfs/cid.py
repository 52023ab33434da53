# SPDX-License-Identifier: MIT
"""Content identifiers: computed from bytes, read from any common spelling, compared as values.

A CID names a codec and a multihash. `Qm…`, `bafk…`, `zb38…` and `BAFK…` are spellings, so two CIDs are never
compared as text. Only sha2-256 at its full length is accepted: an identity "hash" contains its bytes and proves
nothing, and truncated or broken hashes let somebody else find other bytes with the same name.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from mrv_core.errors import FormatError

RAW: Final = 0x55
"""Codec of a block that is just bytes."""
DAG_PB: Final = 0x70
"""Codec that every CIDv0 means."""
DAG_CBOR: Final = 0x71
"""Codec of a block with links to other blocks."""

_SHA2_256: Final = 0x12
_DIGEST_SIZE: Final = 32
_MAX_TEXT: Final = 128
"""Longest text looked at: a CIDv1 with a nine-byte codec in base16 has 91 characters, and base58 is quadratic."""
_MAX_VARINT_BYTES: Final = 9  # unsigned-varint specification: 63 bits

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Cid:
    """A content identifier with a sha2-256 multihash; equal whatever version or base it was written in.

    Attributes:
        codec: Multicodec number of the block's format.
        digest: SHA-256 of the block (32 bytes).
    """

    codec: int
    digest: bytes

    @classmethod
    def of(cls, block: bytes, codec: int = RAW) -> Cid:
        """Compute the CID of a block."""
        return cls(codec, sha256(block).digest())

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read a CIDv0, or a CIDv1 in multibase base16, base32, base58btc, base64 or base64url without padding.

        Raises:
            FormatError: not exactly one such spelling, or a multihash that is not full sha2-256.
        """
        if not isinstance(text, str) or not 2 <= len(text) <= _MAX_TEXT or not text.isascii():
            raise FormatError(f"{str(text)[:60]!r} is not a CID")
        if text.startswith("Qm"):
            return cls(DAG_PB, _read_multihash(_decode("z", text, text)))
        if text[0] not in _BASES:
            raise FormatError(f"CID {text[:60]!r} starts with an unknown multibase prefix")
        return cls.from_bytes(_decode(text[0], text[1:], text))

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Read a binary CIDv1.

        Raises:
            FormatError: another version, a varint that is not minimal, bytes missing or left over, or a
                multihash that is not full sha2-256.
        """
        version, rest = read_varint(data)
        if version != 1:
            raise FormatError(f"CID has version {version}; only 0 as base58 text and 1 exist")
        codec, rest = read_varint(rest)
        return cls(codec, _read_multihash(rest))

    def to_bytes(self) -> bytes:
        """Return the binary CIDv1."""
        return b"\x01" + write_varint(self.codec) + bytes((_SHA2_256, _DIGEST_SIZE)) + self.digest

    def __str__(self) -> str:
        return "b" + _base32(self.to_bytes())


def split_cid(data: bytes) -> tuple[Cid, int]:
    """Read the binary CID at the start of `data`, of version 0 or 1; return it and its length in bytes.

    Raises:
        FormatError: no CID, or one that is not full sha2-256.
    """
    if data[:2] == bytes((_SHA2_256, _DIGEST_SIZE)):  # version 0 is a bare multihash
        size = 2 + _DIGEST_SIZE
        return Cid(DAG_PB, _read_multihash(data[:size])), size
    _, rest = read_varint(data)
    _, rest = read_varint(rest)
    size = len(data) - len(rest) + 2 + _DIGEST_SIZE
    return Cid.from_bytes(data[:size]), size


def write_varint(value: int) -> bytes:
    """Encode a non-negative integer as an unsigned varint: seven bits a byte, lowest first."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def read_varint(data: bytes) -> tuple[int, bytes]:
    """Decode an unsigned varint at the start of `data`; return it and the bytes behind it.

    Raises:
        FormatError: cut off, longer than nine bytes, or not the shortest form.
    """
    value = 0
    for position, byte in enumerate(data[:_MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if not byte and position:
                raise FormatError("a varint is not in its shortest form")
            return value, data[position + 1 :]
    raise FormatError("a varint is cut off or too long")


def _read_multihash(data: bytes) -> bytes:
    function, rest = read_varint(data)
    if function != _SHA2_256:
        raise FormatError(f"CID uses hash function 0x{function:x}; only sha2-256 (0x12) is accepted")
    size, digest = read_varint(rest)
    if size != _DIGEST_SIZE or len(digest) != _DIGEST_SIZE:
        raise FormatError(f"CID must hold exactly {_DIGEST_SIZE} digest bytes; it says {size} and has {len(digest)}")
    return digest


def _decode(prefix: str, body: str, text: str) -> bytes:
    encode, decode = _BASES[prefix]
    try:
        data = decode(body)
    except ValueError as error:
        raise FormatError(f"CID {text[:60]!r} has characters that its base does not have") from error
    if encode(data) != body:  # one text for each value: no stray bits, padding, or mixed case
        raise FormatError(f"CID {text[:60]!r} is not the one spelling of its bytes")
    return data


def _base58(data: bytes) -> str:
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _BASE58[0] * zeros + digits


def _from_base58(text: str) -> bytes:
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _from_base32(text: str) -> bytes:
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


_BASES: Final[dict[str, tuple[Callable[[bytes], str], Callable[[str], bytes]]]] = {
    "B": (lambda data: _base32(data).upper(), _from_base32),
    "F": (lambda data: data.hex().upper(), bytes.fromhex),
    "b": (_base32, _from_base32),
    "f": (bytes.hex, bytes.fromhex),
    "m": (_base64, _from_base64),
    "u": (_base64url, _from_base64url),
    "z": (_base58, _from_base58),
}
