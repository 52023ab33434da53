# SPDX-License-Identifier: MIT
"""The OpenTimestamps proof format, read and written within limits (docs/opentimestamps.md).

A proof is a tree: the digest of a file at its root, operations on its edges, attestations at its leaves. It is read
here without recursion and without any library, because whoever only verifies should need none. The tests compare with
the reference implementation, whose limits these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1, sha256
from typing import Final, Literal

from mrv_backends_btc.bytereader import ByteReader
from mrv_backends_btc.ripemd160 import ripemd160
from mrv_core.errors import FormatError

MAGIC: Final = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 64 * 1024
"""Largest proof read; real ones have a few kilobytes."""
MAX_MESSAGE_BYTES: Final = 4096
"""Longest message, and longest argument of an operation, as in the reference implementation."""
MAX_OPERATIONS: Final = 255
"""Most operations from the file's digest to an attestation: the reference implementation reads no more."""
MAX_PAYLOAD_BYTES: Final = 8192
"""Longest payload of an attestation."""
MAX_URI_BYTES: Final = 1000
"""Longest address of a calendar."""
MAX_ATTESTATIONS: Final = 1000

BITCOIN_TAG: Final = bytes.fromhex("0588960d73d71901")
PENDING_TAG: Final = bytes.fromhex("83dfe30d2ef90c8e")
_OTHER_CHAINS: Final = frozenset({bytes.fromhex("06869a0d73d71b45"), bytes.fromhex("30fe8087b5c7ead7")})
"""Litecoin and Ethereum: a height as well, which nobody is asked for here."""

MAX_WEAK_BYTES: Final = 64 * 1024
"""Most bytes hashed with the slow weak hashes in one proof."""

_SHA1, _RIPEMD160, _SHA256, _KECCAK256 = 0x02, 0x03, 0x08, 0x67
_APPEND, _PREPEND, _REVERSE, _HEXLIFY = 0xF0, 0xF1, 0xF2, 0xF3
_ATTESTATION, _FORK = 0x00, 0xFF
_FILE_HASHES: Final = {
    _SHA1: ("sha1", 20),
    _RIPEMD160: ("ripemd160", 20),
    _SHA256: ("sha256", 32),
    _KECCAK256: ("keccak256", 32),
}
_OPERATIONS: Final = frozenset({*_FILE_HASHES, _APPEND, _PREPEND, _REVERSE, _HEXLIFY})
_WEAK: Final = frozenset({_SHA1, _RIPEMD160})
"""Hashes with 160 bits or less: two contents with one digest can be found, and then one proof is of both."""
_URI_CHARACTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/:")


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a proof.

    Attributes:
        name: `append` and `prepend` join their argument to the message, `sha256` hashes the message.
        argument: 1 to 4096 bytes; empty for `sha256`.
    """

    name: Literal["append", "prepend", "sha256"]
    argument: bytes = b""

    def apply(self, message: bytes) -> bytes:
        """Return the message after this step."""
        if self.name == "append":
            return message + self.argument
        return self.argument + message if self.name == "prepend" else sha256(message).digest()


SHA256: Final = Operation("sha256")


@dataclass(frozen=True, slots=True)
class Attestation:
    """One leaf of a proof.

    Attributes:
        kind: `bitcoin` (the message is the Merkle root of a block), `pending` (a calendar knows the message), or
            `unknown`.
        message: What it attests; None where the way to it goes through Keccak-256, which Bitcoin does not need.
        weak: Names of the weak hashes on the way to it, sorted.
        height: Height of the block; of `bitcoin` only.
        uri: Address of the calendar; of `pending` only.
    """

    kind: Literal["bitcoin", "pending", "unknown"]
    message: bytes | None
    weak: tuple[str, ...]
    height: int | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class OtsFile:
    """A proof that was read.

    Attributes:
        algorithm: Hash of the file that the proof is about: `sha256`, `sha1`, `ripemd160` or `keccak256`.
        digest: The file's digest.
        attestations: In the order of the file.
    """

    algorithm: str
    digest: bytes
    attestations: tuple[Attestation, ...]


def read_ots(data: bytes) -> OtsFile:
    """Read a detached proof.

    Raises:
        FormatError: not a proof of version 1, malformed, beyond the limits, or with bytes behind its end.
    """
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(f"OpenTimestamps proof: more than the {MAX_FILE_BYTES} bytes allowed")
    if not data.startswith(MAGIC):
        raise FormatError("not an OpenTimestamps proof: it does not begin with the format's 31 magic bytes")
    reader = _Reader(data, "OpenTimestamps proof")
    reader.take(len(MAGIC))
    if reader.number() != VERSION:
        raise FormatError("OpenTimestamps proof: of another version than 1")
    tag = reader.byte()
    if tag not in _FILE_HASHES:
        raise FormatError(f"OpenTimestamps proof: unknown hash 0x{tag:02x} of the file")
    algorithm, size = _FILE_HASHES[tag]
    digest = reader.take(size)
    attestations = _read_tree(reader, digest)
    reader.end()
    return OtsFile(algorithm, digest, tuple(attestations))


def write_ots(digest: bytes, operations: Sequence[Operation], height: int) -> bytes:
    """Write the proof that a file with this SHA-256 digest leads to a block of Bitcoin.

    Args:
        digest: The file's digest.
        operations: From the digest to the Merkle root of the block's header, internal byte order.
        height: Height of the block.

    Raises:
        FormatError: more or longer operations than the reference implementation reads.
    """
    _check_writable(digest, operations)
    tags = {"append": _APPEND, "prepend": _PREPEND, "sha256": _SHA256}
    parts = [MAGIC, _leb128(VERSION), bytes([_SHA256]), digest]
    for operation in operations:
        parts.append(bytes([tags[operation.name]]))
        if operation.argument:
            parts.append(_leb128(len(operation.argument)) + operation.argument)
    payload = _leb128(height)
    parts.append(bytes([_ATTESTATION]) + BITCOIN_TAG + _leb128(len(payload)) + payload)
    return b"".join(parts)


def _check_writable(digest: bytes, operations: Sequence[Operation]) -> None:
    if len(operations) > MAX_OPERATIONS:
        raise FormatError(
            f"the way to the block has {len(operations)} operations, OpenTimestamps reads {MAX_OPERATIONS}",
            hint="export a node that is nearer to the root",
        )
    message = digest
    for operation in operations:
        message = operation.apply(message)
        if max(len(message), len(operation.argument)) > MAX_MESSAGE_BYTES:
            raise FormatError(
                f"a step of the way to the block is longer than the {MAX_MESSAGE_BYTES} bytes OpenTimestamps reads",
                hint="a label or a transaction is too long; anchor from a wallet with fewer and larger outputs",
            )


@dataclass(frozen=True, slots=True)
class _Node:
    """A message on the way, how many operations led to it, and which of them are weak."""

    message: bytes | None
    depth: int = 0
    weak: frozenset[str] = frozenset()


def _read_tree(reader: _Reader, digest: bytes) -> list[Attestation]:
    found: list[Attestation] = []
    waiting, weak_bytes = [_Node(digest)], 0
    while waiting:
        node = waiting.pop()
        tag = reader.byte()
        if tag == _FORK:
            waiting.append(node)  # more of this node comes behind the branch that follows
            tag = reader.byte()
        if tag == _ATTESTATION:
            found.append(_read_attestation(reader, node))
        else:
            weak_bytes += len(node.message or b"") if tag in _WEAK else 0
            waiting.append(_read_operation(reader, tag, node, allowed=weak_bytes <= MAX_WEAK_BYTES))
        if len(found) > MAX_ATTESTATIONS:
            raise FormatError(f"OpenTimestamps proof: more than {MAX_ATTESTATIONS} attestations")
    return found


def _read_operation(reader: _Reader, tag: int, node: _Node, *, allowed: bool) -> _Node:
    argument = reader.counted(MAX_MESSAGE_BYTES, least=1) if tag in (_APPEND, _PREPEND) else b""
    if tag not in _OPERATIONS:
        raise FormatError(f"OpenTimestamps proof: unknown operation 0x{tag:02x}")
    if node.depth == MAX_OPERATIONS or not allowed:
        raise FormatError(
            f"OpenTimestamps proof: more than {MAX_OPERATIONS} operations in a row, or too many weak ones"
        )
    weak = node.weak | {_FILE_HASHES[tag][0]} if tag in _WEAK else node.weak
    message = None if node.message is None or tag == _KECCAK256 else _apply(tag, argument, node.message)
    if message is not None and len(message) > MAX_MESSAGE_BYTES:
        raise FormatError(f"OpenTimestamps proof: a message of more than {MAX_MESSAGE_BYTES} bytes")
    return _Node(message, node.depth + 1, weak)


def _apply(tag: int, argument: bytes, message: bytes) -> bytes:
    if tag == _APPEND:
        return message + argument
    if tag == _PREPEND:
        return argument + message
    if tag in (_REVERSE, _HEXLIFY):
        return message[::-1] if tag == _REVERSE else message.hex().encode()
    if tag == _SHA256:
        return sha256(message).digest()
    return ripemd160(message) if tag == _RIPEMD160 else sha1(message, usedforsecurity=False).digest()


def _read_attestation(reader: _Reader, node: _Node) -> Attestation:
    tag = reader.take(len(BITCOIN_TAG))
    payload = _Reader(reader.counted(MAX_PAYLOAD_BYTES), "OpenTimestamps proof")
    weak = tuple(sorted(node.weak))
    if tag == BITCOIN_TAG:
        attestation = Attestation("bitcoin", node.message, weak, height=payload.number())
    elif tag in _OTHER_CHAINS:
        payload.number()
        attestation = Attestation("unknown", node.message, weak)
    elif tag == PENDING_TAG:
        attestation = Attestation("pending", node.message, weak, uri=_uri(payload.counted(MAX_URI_BYTES)))
    else:
        return Attestation("unknown", node.message, weak)
    payload.end()
    return attestation


def _uri(data: bytes) -> str:
    if not _URI_CHARACTERS.issuperset(data):
        raise FormatError("OpenTimestamps proof: a calendar's address has characters that are not allowed")
    return data.decode("ascii")


def _leb128(value: int) -> bytes:
    """Write an unsigned integer as LEB128."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


class _Reader(ByteReader):
    """Reads what has lengths in LEB128."""

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        """Read LEB128 of at most 32 bits, in its shortest form."""
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if (byte == 0 and shift) or value >= 1 << 32:
                raise FormatError(f"OpenTimestamps proof: a number that is too large or too long at {self.place}")
            if byte < 0x80:
                return value
            shift += 7

    def counted(self, most: int, *, least: int = 0) -> bytes:
        length = self.number()
        if not least <= length <= most:
            raise FormatError(f"OpenTimestamps proof: a length of {length}, where {least} to {most} is allowed")
        return self.take(length)
