# SPDX-License-Identifier: MIT
"""Safetensors files, read by their published format: the same leaves as the tensors that were saved.

Layout: header size N (8 bytes, little-endian), N bytes of JSON, then the tensors' bytes back to back. Nothing is
trusted: the header is parsed strictly, and the tensors must fill the rest of the file without gap or overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mrv_core.canonical import MAX_BYTES, JsonValue, parse_json
from mrv_core.digests.context import DigestContext
from mrv_core.digests.files import StableFile, open_stable
from mrv_core.digests.hasher import ContentHasher, array_header
from mrv_core.errors import FormatError
from mrv_core.progress import Task
from mrv_core.provenance_tree import MerkleNode

SIZE_BYTES: Final = 8
METADATA: Final = "__metadata__"
_DTYPES: Final = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "U16": ("uint16", 2),
    "I16": ("int16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "U32": ("uint32", 4),
    "I32": ("int32", 4),
    "F32": ("float32", 4),
    "U64": ("uint64", 8),
    "I64": ("int64", 8),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}
"""Name in the file: name in array headers, bytes an element. Types narrower than a byte are left out."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file.

    Attributes:
        name: Its name.
        dtype: Name of its dtype in array headers.
        shape: Its shape.
        start: Offset of its first byte in the file.
        length: Its bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    length: int


def safetensors_model(path: Path, context: DigestContext) -> tuple[JsonValue, MerkleNode]:
    """Return the architecture and the branch of the tensors of a file.

    Raises:
        FormatError: not a safetensors file, by any rule of the format.
        StorageError: missing, unreadable.
        ContentChangedError: it changed while it was read.
    """
    with open_stable(path) as file, context.progress.task(f"hashing {path}", total=file.size) as task:
        entries = read_header(file)
        leaves = [_leaf(file, entry, context.algorithm, task) for entry in entries]
    described: JsonValue = [[entry.name, entry.dtype, list(entry.shape)] for entry in entries]
    return {"tensors": described, "other": []}, MerkleNode.branch(context.label, leaves)


def _leaf(file: StableFile, entry: TensorEntry, algorithm: str, task: Task) -> MerkleNode:
    hasher = ContentHasher(algorithm, entry.length, task)
    hasher.update(array_header(entry.dtype, entry.shape))
    file.feed(hasher, entry.start, entry.length)
    return MerkleNode.leaf(entry.name, "array", hasher.digest())


def read_header(file: StableFile) -> list[TensorEntry]:
    """Return the tensors of a file, sorted by name.

    Raises:
        FormatError: not a safetensors file; the message names the file and the tensor.
        ContentChangedError: it is shorter now than when it was opened.
    """
    if file.size < SIZE_BYTES:
        raise FormatError(f"{file.path}: too short for a safetensors file")
    size = int.from_bytes(file.read(0, SIZE_BYTES), "little")
    if size > min(file.size - SIZE_BYTES, MAX_BYTES):
        raise FormatError(f"{file.path}: a header of {size} bytes does not fit", hint="is it a safetensors file?")
    header = parse_json(file.read(SIZE_BYTES, size), what=f"{file.path}: header")
    if not isinstance(header, dict):
        raise FormatError(f"{file.path}: the header is not a JSON object")
    _check_metadata(file, header.pop(METADATA, {}))
    entries = [_entry(file, SIZE_BYTES + size, name, value) for name, value in header.items()]
    _check_layout(file, SIZE_BYTES + size, entries)
    return sorted(entries, key=lambda entry: entry.name)


def _check_metadata(file: StableFile, metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{file.path}: {METADATA} is not an object of texts")


def _entry(file: StableFile, base: int, name: str, value: Any) -> TensorEntry:
    where = f"{file.path}: tensor {name[:80]!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{where} does not have exactly dtype, shape and data_offsets")
    shape, offsets = value["shape"], value["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise FormatError(f"{where} has no valid shape or data_offsets")
    known = _DTYPES.get(value["dtype"]) if isinstance(value["dtype"], str) else None
    if known is None:
        raise FormatError(f"{where} has the dtype {str(value['dtype'])[:40]!r}, which is not supported")
    dtype, width = known
    start, end = offsets
    if end - start != math.prod(shape) * width:
        raise FormatError(f"{where} has {end - start} bytes, and its dtype and shape need {math.prod(shape) * width}")
    return TensorEntry(name, dtype, tuple(shape), base + start, end - start)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(file: StableFile, position: int, entries: list[TensorEntry]) -> None:
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.length)):
        if entry.start != position:
            raise FormatError(f"{file.path}: tensor {entry.name[:80]!r} leaves a gap or overlaps another")
        position += entry.length
    if position != file.size:
        raise FormatError(f"{file.path}: the tensors end at byte {position} of {file.size}")
