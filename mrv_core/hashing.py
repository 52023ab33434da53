# SPDX-License-Identifier: MIT
"""Digests that always carry their algorithm, and the algorithms that may be used.

Content digests use the configured algorithm; trees are always SHA-256 (docs/spec/digests.md).
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from blake3 import blake3

from mrv_core.errors import FormatError

DIGEST_SIZE: Final = 32
"""Bytes in every digest of this project; shorter hashes are not collision resistant enough to commit to."""


class Hasher(Protocol):
    """What `hashlib` objects and `blake3` have in common."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Feed bytes."""

    def digest(self) -> bytes:
        """Return the digest of everything fed so far."""


def _blake2b_256() -> Hasher:
    return hashlib.blake2b(digest_size=DIGEST_SIZE)


_FACTORIES: Final[dict[str, Callable[[], Hasher]]] = {
    "blake2b-256": _blake2b_256,
    "blake3": blake3,
    "sha256": hashlib.sha256,
    "sha3-256": hashlib.sha3_256,
}


class HashFactory:
    """Creates hashers by name, from an allow-list that a proof or a file can never extend."""

    DEFAULT: Final = "blake3"

    @staticmethod
    def algorithms() -> tuple[str, ...]:
        """Return the allowed names, sorted."""
        return tuple(sorted(_FACTORIES))

    @staticmethod
    def create(algorithm: str = DEFAULT) -> Hasher:
        """Return a fresh hasher.

        Raises:
            FormatError: unknown algorithm. Names are exact: `SHA256` is not `sha256`.
        """
        try:
            return _FACTORIES[algorithm]()
        except (KeyError, TypeError):
            raise unknown_algorithm(algorithm) from None

    @staticmethod
    def digest(data: bytes | bytearray | memoryview, algorithm: str = DEFAULT) -> Digest:
        """Return the digest of `data` in one call.

        Raises:
            FormatError: unknown algorithm.
        """
        hasher = HashFactory.create(algorithm)
        hasher.update(data)
        return Digest(algorithm, hasher.digest())


def unknown_algorithm(algorithm: object) -> FormatError:
    """Build the error for a hash algorithm outside the allow-list."""
    names = HashFactory.algorithms()
    plain = {name.replace("-", ""): name for name in names}
    asked = str(algorithm)[:40].lower().replace("-", "").replace("_", "")
    near = difflib.get_close_matches(asked, plain, n=1, cutoff=0.5)
    hint = f"did you mean {plain[near[0]]!r}?" if near else f"use one of {', '.join(names)}"
    return FormatError(f"unknown hash algorithm {str(algorithm)[:40]!r}", hint=hint)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A hash output together with the algorithm that made it.

    Attributes:
        algorithm: One of `HashFactory.algorithms()`.
        value: 32 bytes.

    Raises:
        FormatError: unknown algorithm, or a value that is not 32 bytes.
    """

    algorithm: str
    value: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.algorithm, str) or self.algorithm not in _FACTORIES:
            raise unknown_algorithm(self.algorithm)
        if not isinstance(self.value, bytes) or len(self.value) != DIGEST_SIZE:
            raise FormatError(f"a {self.algorithm} digest must be {DIGEST_SIZE} bytes")

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`, the hex part 64 lower-case digits.

        Raises:
            FormatError: no algorithm, unknown algorithm, upper-case, wrong length, or not hexadecimal.
        """
        if not isinstance(text, str):
            raise FormatError(f"a digest must be text, not {type(text).__name__}")
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise FormatError(f"digest {text[:80]!r} names no algorithm", hint="write it as algorithm:hex")
        if algorithm not in _FACTORIES:
            raise unknown_algorithm(algorithm)
        if len(digits) != 2 * DIGEST_SIZE or not set(digits) <= set("0123456789abcdef"):
            raise FormatError(f"digest {text[:80]!r} must have {2 * DIGEST_SIZE} lower-case hexadecimal digits")
        return cls(algorithm, bytes.fromhex(digits))

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits without the algorithm."""
        return self.value.hex()

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value.hex()}"


def length_prefixed(data: bytes) -> bytes:
    """Return `data` behind its length as an unsigned 64-bit big-endian integer.

    Every variable-length field that enters a hash goes through here, so no two different
    sequences of fields can have the same bytes.
    """
    return len(data).to_bytes(8, "big") + data
