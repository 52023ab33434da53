# SPDX-License-Identifier: MIT
"""JSON against public vectors: RFC 8785's own, ECMAScript numbers, and the JSON Parsing Test Suite."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import FormatError

REFUSED_ON_PURPOSE = {
    # A name twice in one object is what two readers understand differently (docs/spec/json.md).
    "y_object_duplicated_key.json",
    "y_object_duplicated_key_and_value.json",
}


def test_jcs_documents(vectors: Callable[[str], Path]) -> None:
    inputs = sorted(vectors("jcs/input").glob("*.json"))
    assert inputs
    for file in inputs:
        expected = vectors(f"jcs/output/{file.name}").read_bytes()
        assert expected == bytes.fromhex(vectors(f"jcs/outhex/{file.stem}.txt").read_text())
        assert canonical_bytes(parse_json(file.read_bytes(), what=file.name)) == expected
        assert canonical_bytes(parse_json(expected, what=file.name)) == expected


def test_ecmascript_numbers(vectors: Callable[[str], Path]) -> None:
    lines = vectors("jcs/es6-numbers-10000.txt").read_text().splitlines()
    assert len(lines) == 10_000
    for line in lines:
        bits, expected = line.split(",")
        (value,) = struct.unpack(">d", bytes.fromhex(bits.zfill(16)))
        assert canonical_bytes(value).decode() == expected
        assert parse_json(expected.encode(), what=bits) == value


def test_parsing_suite(vectors: Callable[[str], Path]) -> None:
    """`y_` is read, `n_` is refused, `i_` is either; nothing raises anything but FormatError."""
    wrong, seen = [], set()
    for file in sorted(vectors("jsontestsuite/test_parsing").glob("*.json")):
        expected = file.name[0]
        seen.add(expected)
        try:
            value = parse_json(file.read_bytes(), what=file.name)
        except FormatError:
            if expected == "y" and file.name not in REFUSED_ON_PURPOSE:
                wrong.append(file.name)
            continue
        assert canonical_bytes(parse_json(canonical_bytes(value), what="again")) == canonical_bytes(value)
        if expected == "n" or file.name in REFUSED_ON_PURPOSE:
            wrong.append(file.name)
    assert not wrong
    assert seen == {"y", "n", "i"}


def test_transformation_suite(vectors: Callable[[str], Path]) -> None:
    """What is read has the value that the text says; what two readers could read differently is refused."""
    read, refused = {}, set()
    for file in sorted(vectors("jsontestsuite/test_transform").glob("*.json")):
        try:
            read[file.name] = parse_json(file.read_bytes(), what=file.name)
        except FormatError:
            refused.add(file.name)
    for name, value in read.items():
        assert value == json.loads(vectors(f"jsontestsuite/test_transform/{name}").read_bytes()), name
    for name in refused:
        kind = name.removesuffix(".json")
        big = kind.startswith("number_") and abs(int(kind.removeprefix("number_"))) > 2**53
        assert big or kind.startswith(("object_same_key_", "string_")), name
    for name in ("object_key_nfc_nfd.json", "object_key_nfd_nfc.json"):
        assert len(read[name]) == 2, "composed and decomposed text are two keys"
