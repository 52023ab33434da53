# SPDX-License-Identifier: MIT
"""A slow second implementation of docs/spec/digests.md, written from its text: one element at a time, no buffers.

Nodes are plain dicts with `label`, `kind`, `hash` and either `digest` or `children`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import oracles

Node = dict[str, Any]


def leaf(label: str, kind: str, content: bytes, algorithm: str = "blake3") -> Node:
    digest = oracles.content_digest(algorithm, content)
    return {"label": label, "kind": kind, "digest": digest, "hash": oracles.leaf_hash(label, kind, digest).hex()}


def branch(label: str, children: Sequence[Node]) -> Node:
    root = oracles.mth([bytes.fromhex(child["hash"]) for child in children])
    node_hash = oracles.branch_hash(label, len(children), root).hex()
    return {"label": label, "kind": "branch", "children": list(children), "hash": node_hash}


def json_leaf(label: str, value: Any, algorithm: str = "blake3") -> Node:
    return leaf(label, "json", oracles.jcs(value).encode("utf-8"), algorithm)


# --- arrays


def array_message(dtype: str, shape: Sequence[int], elements: bytes) -> bytes:
    return oracles.field(dtype) + oracles.u64(len(shape)) + b"".join(map(oracles.u64, shape)) + elements


def array_leaf(label: str, array: np.ndarray[Any, Any], algorithm: str = "blake3") -> Node:
    return leaf(label, "array", numpy_message(array), algorithm)


def numpy_message(array: np.ndarray[Any, Any]) -> bytes:
    elements = b"".join(element_bytes(array[index], array.dtype) for index in np.ndindex(array.shape))
    return array_message(dtype_text(array.dtype), array.shape, elements)


def dtype_text(dtype: np.dtype[Any]) -> str:
    described = describe(dtype)
    return described if isinstance(described, str) else oracles.jcs(described)


def describe(dtype: np.dtype[Any]) -> Any:
    if dtype.fields is not None:
        fields = []
        for name in dtype.names or ():
            inner = dtype.fields[name][0]
            base, shape = inner.base, list(inner.shape)
            fields.append([name, describe(base), shape] if shape else [name, describe(base)])
        return fields
    text = dtype.str  # such as "<f8", "|S3", ">U2", "<M8[25s]"
    code, size, unit = re.fullmatch(r"[<>|=](.)(\d+)(\[.*\])?", text).groups()  # type: ignore[union-attr]
    bits = 8 * int(size)
    if code in "biufc" and dtype.kind == code:
        names = {"b": "bool", "i": f"int{bits}", "u": f"uint{bits}", "f": f"float{bits}", "c": f"complex{bits}"}
        return names[code]
    if code in "Mm":
        return {"M": "datetime64", "m": "timedelta64"}[code] + (unit or "")
    return {"S": f"bytes[{size}]", "U": f"str[{size}]", "V": f"void[{size}]"}[code]


def element_bytes(value: Any, dtype: np.dtype[Any]) -> bytes:
    if dtype.fields is not None:
        parts = []
        for name in dtype.names or ():
            inner, item = dtype.fields[name][0], np.asarray(value[name])
            parts += [element_bytes(item[index], inner.base) for index in np.ndindex(inner.shape)]
        return b"".join(parts)
    raw = np.asarray(value, dtype).tobytes()
    width = {"c": dtype.itemsize // 2, "U": 4, "S": 1, "V": 1}.get(dtype.kind, dtype.itemsize)
    if not dtype.str.startswith(">"):
        return raw
    return b"".join(raw[at : at + width][::-1] for at in range(0, len(raw), width))


# --- files and folders


def path_node(label: str, path: Path, algorithm: str = "blake3", links: bool = False) -> Node:
    mode = os.lstat(path).st_mode if links else os.stat(path).st_mode
    if stat.S_ISLNK(mode):
        return leaf(label, "symlink", os.fsencode(os.readlink(path)), algorithm)
    if stat.S_ISDIR(mode):
        names = sorted(os.listdir(path), key=lambda name: name.encode("utf-8"))
        return branch(label, [path_node(name, path / name, algorithm, links) for name in names])
    return leaf(label, "file", path.read_bytes(), algorithm)


# --- datasets


def dataset_leaf(label: str, samples: Sequence[Node], algorithm: str = "blake3") -> Node:
    root = oracles.mth([bytes.fromhex(sample["hash"]) for sample in samples])
    return leaf(label, "dataset", oracles.u64(len(samples)) + root, algorithm)


# --- safetensors


SAFETENSORS = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "bfloat16": "BF16",
    "uint32": "U32", "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


def safetensors_bytes(tensors: Sequence[tuple[str, str, Sequence[int], bytes]], metadata: dict[str, str]) -> bytes:
    """Write a file with tensors given as (name, dtype, shape, elements)."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, dtype, shape, elements in tensors:
        offsets = [len(data), len(data) + len(elements)]
        header[name] = {"dtype": SAFETENSORS[dtype], "shape": list(shape), "data_offsets": offsets}
        data += elements
    text = oracles.jcs(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data
