# SPDX-License-Identifier: MIT
"""CARv1 archives: the file format in which IPFS nodes import and export blocks.

An archive is a DAG-CBOR header `{"roots": [CID…], "version": 1}` followed by sections of CID and block, each
behind its length as an unsigned varint. Every block is a root, because a node pins what is a root.
"""

from __future__ import annotations

from collections.abc import Mapping

from mrv_backends_ipfs.cid import Cid, write_varint


def car_bytes(blocks: Mapping[Cid, bytes]) -> bytes:
    """Return a CARv1 archive with these blocks in this order, all of them roots."""
    sections = (cid.to_bytes() + block for cid, block in blocks.items())
    return b"".join(write_varint(len(part)) + part for part in (_header(blocks), *sections))


def _header(roots: Mapping[Cid, bytes]) -> bytes:
    # DAG-CBOR: major types 5 map, 3 text, 4 array, 6 tag, 2 bytes, 0 integer; keys sorted by length first.
    links = b"".join(_link(root) for root in roots)
    return _head(5, 2) + _head(3, 5) + b"roots" + _head(4, len(roots)) + links + _head(3, 7) + b"version" + _head(0, 1)


def _link(cid: Cid) -> bytes:
    # Tag 42 over a byte string that starts with the identity multibase prefix 0x00.
    data = b"\x00" + cid.to_bytes()
    return _head(6, 42) + _head(2, len(data)) + data


def _head(major: int, value: int) -> bytes:
    """Encode a CBOR major type and its argument in the shortest form (RFC 8949, section 4.2.1)."""
    if value < 24:
        return bytes((major << 5 | value,))
    size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes((major << 5 | 23 + size.bit_length(),)) + value.to_bytes(size, "big")
