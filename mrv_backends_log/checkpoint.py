# SPDX-License-Identifier: MIT
"""C2SP checkpoints (c2sp.org/tlog-checkpoint) and inclusion proofs (c2sp.org/tlog-proof), as text.

    mrv.local/log/5a1c…     origin: the log's name
    20852163                tree size
    CsUYapGGPo4dkMgI…       root hash, base64

Signed, this is all a log says: no time, no content. A proof puts a leaf index and an audit path before it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from mrv_backends_log.note import strict_base64
from mrv_core.errors import FormatError
from mrv_core.merkle import HASH_SIZE, MAX_TREE_SIZE

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1\n"
_MAX_PATH: Final = 63  # hashes from a leaf to the root of the largest tree


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's state at one size.

    Attributes:
        origin: The log's name.
        size: Number of leaves.
        root: RFC 9162 root over them (32 bytes).
    """

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's text. Extension lines, which other logs add, are not kept.

        Raises:
            FormatError: fewer than three lines, an empty line, or a malformed size or root.
        """
        origin, *rest = text.split("\n")
        if not text.endswith("\n") or len(rest) < 3 or not origin or "" in rest[:-1]:
            raise FormatError("checkpoint: not three lines or more, none of them empty")
        return cls(origin, _parse_number(rest[0], "checkpoint size"), _parse_hash(rest[1], "checkpoint root"))

    def to_text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_format_hash(self.root)}\n"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Shows that an entry is in a log: everything but the entry itself.

    Attributes:
        index: Zero-based leaf index.
        path: Audit path, the leaf's sibling first.
        checkpoint: The signed note that holds the checkpoint, as the log issued it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """Read a proof without extra data, which our log never adds.

        Raises:
            FormatError: another version, or any line that is not exactly as it must be.
        """
        head, separator, checkpoint = text.partition("\n\n")
        if not separator or not head.startswith(_PROOF_HEADER + "index "):
            raise FormatError("inclusion proof: not a C2SP tlog-proof, version 1, without extra data")
        number, *path = head.removeprefix(_PROOF_HEADER + "index ").split("\n", _MAX_PATH + 1)
        if len(path) > _MAX_PATH:
            raise FormatError(f"inclusion proof: more than {_MAX_PATH} hashes")
        hashes = tuple(_parse_hash(line, "inclusion proof") for line in path)
        return cls(_parse_number(number, "leaf index"), hashes, checkpoint)

    def to_text(self) -> str:
        """Return the proof's text."""
        lines = "".join(f"{_format_hash(value)}\n" for value in self.path)
        return f"{_PROOF_HEADER}index {self.index}\n{lines}\n{self.checkpoint}"


def _parse_number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_TREE_SIZE:
        raise FormatError(f"{what}: {text[:24]!r} is not a decimal number without leading zeros")
    return int(text)


def _parse_hash(text: str, what: str) -> bytes:
    value = strict_base64(text, what)
    if len(value) != HASH_SIZE:
        raise FormatError(f"{what}: a hash is not {HASH_SIZE} bytes")
    return value


def _format_hash(value: bytes) -> str:
    return base64.b64encode(value).decode()
