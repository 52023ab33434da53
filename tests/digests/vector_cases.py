# SPDX-License-Identifier: MIT
"""Examples for tests/vectors/digests.json, every expected value made by the oracle and never by the product."""

from __future__ import annotations

import struct
from typing import Any

import digest_oracle as oracle
import oracles

Json = dict[str, Any]

ALGORITHMS = ("blake2b-256", "blake3", "sha256", "sha3-256")


def cases() -> Json:
    """Return the document of tests/vectors/digests.json."""
    return {
        "description": "Content digests of docs/spec/digests.md. Bytes are hexadecimal; labels are part of the hashes.",
        "files": [_file(length) for length in (0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 31744, 65537)],
        "folders": [_folder(name, entries) for name, entries in _FOLDERS.items()],
        "json": [_json(value) for value in _VALUES],
        "arrays": [_array(*case) for case in _ARRAYS],
        "structures": _structures(),
        "datasets": [_dataset(samples) for samples in ([], [0], [0, 1], list(range(7)))],
        "weights": _weights(),
    }


def pattern(length: int) -> bytes:
    """Return the bytes 0, 1, ... 250, 0, 1, ... that BLAKE3's own vectors use."""
    return bytes(index % 251 for index in range(length))


def _file(length: int) -> Json:
    content = pattern(length)
    digests = [oracles.content_digest(algorithm, content) for algorithm in ALGORITHMS]
    return {"length": length, "digests": digests, "node": oracle.leaf("file.bin", "file", content)}


_FOLDERS: dict[str, list[Json]] = {
    "empty": [],
    "one file": [{"path": ["a"], "file": "6263"}],
    "one file, cut elsewhere": [{"path": ["ab"], "file": "63"}],
    "empty folder inside": [{"path": ["a"], "file": ""}, {"path": ["b"], "folder": True}],
    "nested, sorted by UTF-8": [
        {"path": ["z"], "file": "01"},
        {"path": ["\uff01"], "file": "02"},
        {"path": ["\U0001f600"], "file": "03"},
        {"path": ["images", "10.png"], "file": "04"},
        {"path": ["images", "9.png"], "file": "05"},
        {"path": ["images", "deep", "x"], "file": "06"},
    ],
    "composed and decomposed": [{"path": ["\u00e9"], "file": "00"}, {"path": ["e\u0301"], "file": "00"}],
    "recorded link": [{"path": ["data"], "file": "00"}, {"path": ["link"], "link": "../outside"}],
}


def _folder(name: str, entries: list[Json]) -> Json:
    return {"name": name, "entries": entries, "node": _folder_node("folder", entries)}


def _folder_node(label: str, entries: list[Json]) -> Json:
    children: list[Json] = []
    for name in sorted({entry["path"][0] for entry in entries}, key=lambda name: name.encode("utf-8")):
        inside = [entry for entry in entries if entry["path"][0] == name]
        first = inside[0]
        below = [{**entry, "path": entry["path"][1:]} for entry in inside if len(entry["path"]) > 1]
        if below or "folder" in first:
            children.append(_folder_node(name, below))
        elif "link" in first:
            children.append(oracle.leaf(name, "symlink", first["link"].encode()))
        else:
            children.append(oracle.leaf(name, "file", bytes.fromhex(first["file"])))
    return oracle.branch(label, children)


_VALUES: list[Any] = [None, True, 1.0, "text", [], {}, [1, [2, "3"]], {"b": 1, "a": {"é": [0.1, -0.0, 1e21]}}]


def _json(value: Any) -> Json:
    return {"value": value, "canonical": oracles.jcs(value), "node": oracle.json_leaf("value", value)}


_ARRAYS: list[tuple[str, list[int], bytes]] = [
    ("float32", [], struct.pack("<f", 1.5)),
    ("float32", [0], b""),
    ("float32", [0, 3], b""),
    ("bool", [3], b"\x01\x00\x01"),
    ("int8", [2], struct.pack("<2b", -1, 1)),
    ("uint8", [2], b"\xff\x01"),
    ("int16", [2, 2], struct.pack("<4h", 1, -2, 3, -4)),
    ("uint16", [4], struct.pack("<4H", 1, 2, 3, 4)),
    ("int32", [2, 3], struct.pack("<6i", *range(6))),
    ("int32", [3, 2], struct.pack("<6i", *range(6))),
    ("int32", [6], struct.pack("<6i", *range(6))),
    ("uint32", [1], struct.pack("<I", 2**32 - 1)),
    ("int64", [1], struct.pack("<q", -(2**63))),
    ("uint64", [1], struct.pack("<Q", 2**64 - 1)),
    ("float16", [2], struct.pack("<2e", 0.5, -2)),
    ("bfloat16", [2], bytes.fromhex("803f00c0")),
    ("float64", [2], struct.pack("<2d", 0.0, 1.0)),
    ("float64", [2], struct.pack("<2d", -0.0, 1.0)),
    ("float64", [1], bytes.fromhex("010000000000f87f")),
    ("complex64", [1], struct.pack("<2f", 1, -1)),
    ("complex128", [1], struct.pack("<2d", 1, -1)),
    ("float8_e4m3fn", [3], b"\x00\x38\x7f"),
    ("float8_e5m2", [3], b"\x00\x38\x7f"),
    ("datetime64[ns]", [1], struct.pack("<q", 1_768_000_000_000_000_000)),
    ("timedelta64[25s]", [2], struct.pack("<2q", 1, -(2**63))),
    ("bytes[3]", [2], b"a\0\0xyz"),
    ("str[2]", [2], "é\0".encode("utf-32-le") + "\U0001f600b".encode("utf-32-le")),
    ("void[2]", [1], b"\x01\x02"),
    ('[["x","float32"],["y","int16",[2]]]', [2], struct.pack("<fhhfhh", 1, 2, 3, 4, 5, 6)),
]


def _array(dtype: str, shape: list[int], elements: bytes) -> Json:
    message = oracle.array_message(dtype, shape, elements)
    header = message[: len(message) - len(elements)]
    return {
        "dtype": dtype,
        "shape": shape,
        "elements": elements.hex(),
        "header": header.hex(),
        "node": oracle.leaf("array", "array", message),
    }


def _int64(*values: int) -> tuple[list[int], bytes]:
    return [len(values)], struct.pack(f"<{len(values)}q", *values)


def _array_leaf(label: str, *values: int) -> Json:
    shape, elements = _int64(*values)
    return oracle.leaf(label, "array", oracle.array_message("int64", shape, elements))


def _structures() -> list[Json]:
    """Contents are described in words of JSON: `int64` stands for a one-dimensional array, `bytes` for raw bytes."""
    one = {"int64": [1, 2]}
    return [
        {"content": {"bytes": "00ff"}, "node": oracle.leaf("content", "bytes", b"\x00\xff")},
        {
            "content": {"pair": [one, one]},
            "node": oracle.branch("content", [_array_leaf("x", 1, 2), _array_leaf("y", 1, 2)]),
        },
        {
            "content": {"tuple": [one, {"json": 5}, one]},
            "node": oracle.branch(
                "content", [_array_leaf("0", 1, 2), oracle.json_leaf("1", 5), _array_leaf("2", 1, 2)]
            ),
        },
        {
            "content": {"mapping": {"b": one, "a": {"json": [1, "x"]}, "é": one}},
            "node": oracle.branch(
                "content", [oracle.json_leaf("a", [1, "x"]), _array_leaf("b", 1, 2), _array_leaf("é", 1, 2)]
            ),
        },
    ]


def _dataset(samples: list[int]) -> Json:
    """Sample i is the pair of the int64 array [i] and the JSON value i."""
    nodes = [oracle.branch("sample", [_array_leaf("x", i), oracle.json_leaf("y", i)]) for i in samples]
    return {"samples": samples, "entries": [node["hash"] for node in nodes], "node": oracle.dataset_leaf("data", nodes)}


def _weights() -> list[Json]:
    tensors: list[tuple[str, str, list[int], bytes]] = [
        ("layer.weight", "float32", [2, 2], struct.pack("<4f", 1, 2, 3, 4)),
        ("layer.bias", "bfloat16", [2], bytes.fromhex("803f0040")),
        ("steps", "int64", [], struct.pack("<q", 7)),
    ]
    leaves = [oracle.leaf(name, "array", oracle.array_message(*rest)) for name, *rest in sorted(tensors)]
    described = {"other": [], "tensors": [[name, dtype, shape] for name, dtype, shape, _ in sorted(tensors)]}
    return [
        {
            "tensors": [[name, dtype, shape, elements.hex()] for name, dtype, shape, elements in tensors],
            "safetensors": oracle.safetensors_bytes(order, metadata).hex(),
            "architecture": oracle.json_leaf("architecture", described),
            "weights": oracle.branch("weights", leaves),
        }
        for order, metadata in ((tensors, {}), (tensors[::-1], {"format": "pt"}))
    ]
