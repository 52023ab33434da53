# SPDX-License-Identifier: MIT
"""CARv1 archives: the file format in which IPFS nodes import and export blocks.

An archive is a DAG-CBOR header `{"roots": [CID…], "version": 1}` followed by sections of CID and block, each
behind its length as an unsigned varint. A node pins what is a root. Reading extracts nothing into files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mrv_backends_ipfs.cbor import decode, encode
from mrv_backends_ipfs.cid import DAG_CBOR, RAW, Cid, read_varint, split_cid, write_varint
from mrv_core.errors import FormatError

_MAX_VARINT: Final = 9
_CID_SIZE: Final = 36
"""Bytes of a CIDv1 with a codec of one byte and sha2-256."""
_MAX_CID_SIZE: Final = _CID_SIZE + 8
_OURS: Final = (bytes((1, RAW, 0x12, 32)), bytes((1, DAG_CBOR, 0x12, 32)))


def car_bytes(blocks: Mapping[Cid, bytes], roots: Iterable[Cid] | None = None) -> bytes:
    """Return a CARv1 archive with these blocks in this order.

    Args:
        blocks: CID to block.
        roots: The roots; every block where they are left out.
    """
    header = encode({"roots": list(blocks if roots is None else roots), "version": 1})
    sections = (cid.to_bytes() + block for cid, block in blocks.items())
    return b"".join(write_varint(len(part)) + part for part in (header, *sections))


class CarArchive:
    """A CARv1 archive in memory, its blocks found by their CIDs and checked by whoever reads them.

    Args:
        data: The archive.

    Attributes:
        roots: Its roots.

    Raises:
        FormatError: not a whole CARv1 archive of blocks with sha2-256 CIDs.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._places: dict[bytes, tuple[int, int]] = {}  # by binary CIDv1: making 100,000 objects takes seconds
        start, end = self._section(0)
        self.roots = _roots(data[start:end])
        while end < len(data):
            start, end = self._section(end)
            key, size = _cid_at(data[start : min(end, start + _MAX_CID_SIZE)])
            self._places.setdefault(key, (start + size, end))

    def __len__(self) -> int:
        return len(self._places)

    def get(self, cid: Cid) -> bytes | None:
        """Return the bytes that the archive has under a CID, unchecked, or None where it has none."""
        place = self._places.get(cid.to_bytes())
        return None if place is None else self._data[slice(*place)]

    def blocks(self) -> dict[Cid, bytes]:
        """Return everything in the archive, unchecked."""
        return {Cid.from_bytes(key): self._data[slice(*place)] for key, place in self._places.items()}

    def _section(self, position: int) -> tuple[int, int]:
        head = self._data[position : position + _MAX_VARINT]
        size, rest = read_varint(head)
        start = position + len(head) - len(rest)
        if not 0 < size <= len(self._data) - start:
            raise FormatError("the archive is cut off or has an empty section")
        return start, start + size


def _cid_at(data: bytes) -> tuple[bytes, int]:
    """Return the binary CIDv1 that a section begins with, and the length of what it is written as."""
    if data[:4] in _OURS and len(data) >= _CID_SIZE:
        return data[:_CID_SIZE], _CID_SIZE
    cid, size = split_cid(data)
    return cid.to_bytes(), size


def _roots(header: bytes) -> tuple[Cid, ...]:
    value = decode(header)
    roots = value.get("roots") if isinstance(value, dict) and value.get("version") == 1 else None
    if not isinstance(roots, list):
        raise FormatError("the archive is not a CARv1")
    return tuple(root for root in roots if isinstance(root, Cid))
