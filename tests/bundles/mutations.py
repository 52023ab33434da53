# SPDX-License-Identifier: MIT
"""Changed bundles: every field of one in several ways, and the bytes of the file itself.

What is changed inside the document is sealed again, as whoever forges one would; what is changed in the bytes is not.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

from mrv_core.bundle import seal_of
from mrv_core.canonical import canonical_bytes

Path = tuple[Any, ...]
_HEX = re.compile(r"(?:0x)?[0-9a-f]{8,}")
_STATES = ("PENDING", "INCLUDED", "FINAL")
_OTHER_ALGORITHMS = ("sha1", "md5", "SHA256", "sha-256", "blake3", "sha3-256", "blake2b-256", "sha512", "")


def sealed(value: dict[str, Any]) -> bytes:
    """Return a bundle's bytes with the seal that fits, as a careful forger would write them."""
    return canonical_bytes({**value, "seal": str(seal_of(value))})


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the way to every value inside a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from paths_of(child, (*path, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def with_value(value: dict[str, Any], path: Path, new: Any) -> dict[str, Any]:
    """Return a copy with another value at a place."""
    changed = copy.deepcopy(value)
    at(changed, path[:-1])[path[-1]] = new
    return changed


def without(value: dict[str, Any], path: Path) -> dict[str, Any]:
    changed = copy.deepcopy(value)
    del at(changed, path[:-1])[path[-1]]
    return changed


def other_values(old: Any, rng: random.Random) -> Iterator[tuple[str, Any]]:
    """Yield other values for one that stands in a bundle, each with its name."""
    if isinstance(old, bool):
        yield from (("negated", not old), ("as-number", int(old)), ("as-text", str(old).lower()))
    elif isinstance(old, int | float):
        yield from (("one-more", old + 1), ("one-less", old - 1), ("huge", 2**53 - 1), ("text", str(old)))
        yield from (("fraction", old + 0.5), ("true", True), ("1e21", 1e21))
    elif isinstance(old, str):
        yield from _other_texts(old, rng)
    elif isinstance(old, list):
        yield from (("empty", []), ("object", {}), ("repeated", old + old[-1:]), ("longer", [*old, "00" * 32]))
        if old:
            yield from (("shorter", old[:-1]), ("headless", old[1:]), ("reversed", old[::-1]))
    elif isinstance(old, dict):
        yield from (("empty", {}), ("list", []), ("unknown-key", {**old, "more": 1}))
    if old is not None:
        yield "null", None
    else:
        yield from (("text", ""), ("number", 0), ("object", {}))


def _other_texts(old: str, rng: random.Random) -> Iterator[tuple[str, Any]]:
    yield from (("empty", ""), ("longer", old + "0"), ("number", 0), ("space", old + " "), ("upper", old.upper()))
    if old:
        place = rng.randrange(len(old))
        yield "shorter", old[:-1]
        yield "other-character", old[:place] + ("0" if old[place] != "0" else "1") + old[place + 1 :]
    for match in _HEX.finditer(old):
        place = rng.randrange(match.start() + 2, match.end())
        digit = format(int(old[place], 16) ^ 1 << rng.randrange(4), "x")
        yield f"bit-{match.start()}", old[:place] + digit + old[place + 1 :]
    if old in _STATES:
        yield from ((name, name) for name in _STATES)
    if old.startswith(("sha256:", "blake3:")):
        yield from ((f"algorithm-{name}", f"{name}:{old.partition(':')[2]}") for name in _OTHER_ALGORITHMS)


def field_mutations(value: dict[str, Any], rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) for every field: removed, and with other values."""
    for path in paths_of(value):
        if path == ("seal",):
            continue
        place = "/".join(map(str, path))
        yield f"{place}:removed", sealed(without(value, path))
        old = at(value, path)
        for name, new in other_values(old, rng):
            if new != old or type(new) is not type(old):
                yield f"{place}:{name}", sealed(with_value(value, path, new))


def byte_mutations(data: bytes, rng: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) with single bits flipped and bytes removed, doubled or swapped, all over the file."""
    for number in range(count):
        place = rng.randrange(len(data))
        flipped = bytes([data[place] ^ 1 << rng.randrange(8)])
        yield f"bit {number} at {place}", data[:place] + flipped + data[place + 1 :]
    for place in rng.sample(range(len(data) - 1), count // 8):
        yield f"byte at {place} removed", data[:place] + data[place + 1 :]
        yield f"byte at {place} doubled", data[:place] + data[place : place + 1] + data[place:]
        swapped = data[place + 1 : place + 2] + data[place : place + 1]
        if swapped != data[place : place + 2]:
            yield f"bytes at {place} swapped", data[:place] + swapped + data[place + 2 :]


def spelling_mutations(value: dict[str, Any], data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the same document in other words: what another reader could understand differently, or not at all."""
    text = data.decode()
    respelt: dict[str, Callable[[], str | bytes]] = {
        "newline at the end": lambda: text + "\n",
        "space at the start": lambda: " " + text,
        "indented": lambda: json.dumps(value, indent=1, ensure_ascii=False),
        "spaces after colons": lambda: json.dumps(value, separators=(",", ": "), ensure_ascii=False),
        "keys in another order": lambda: json.dumps(dict(reversed(value.items())), separators=(",", ":")),
        "escaped key": lambda: text.replace('"root"', '"\\u0072oot"', 1),
        "escaped slash": lambda: text.replace("mrv-bundle/1", "mrv-bundle\\/1", 1),
        "duplicate key": lambda: text.replace('{"batch"', '{"batch":null,"batch"', 1),
        "duplicate key, escaped": lambda: text.replace('{"batch"', '{"\\u0062atch":null,"batch"', 1),
        "duplicate key, inner": lambda: text.replace(
            '"format":"mrv-receipt/1"', '"format":"","format":"mrv-receipt/1"', 1
        ),
        "byte order mark": lambda: b"\xef\xbb\xbf" + data,
        "UTF-16": lambda: text.encode("utf-16"),
        "invalid UTF-8": lambda: data.replace(b'"run_id":"', b'"run_id":"\xff', 1),
        "overlong UTF-8": lambda: data.replace(b'"run_id":"', b'"run_id":"\xc0\xaf', 1),
        "lone surrogate": lambda: text.replace('"run_id":"', '"run_id":"\\ud800', 1),
        "control character": lambda: data.replace(b'"run_id":"', b'"run_id":"\x01', 1),
        "NaN": lambda: text.replace('"batch":null', '"batch":NaN', 1),
        "exponent": lambda: re.sub(r'"index":(\d+)', r'"index":\1e0', text, count=1),
        "fraction": lambda: re.sub(r'"index":(\d+)', r'"index":\1.0', text, count=1),
        "minus zero": lambda: text.replace('"index":0', '"index":-0', 1),
        "leading zero": lambda: re.sub(r'"index":(\d+)', r'"index":0\1', text, count=1),
        "huge integer": lambda: re.sub(r'"index":(\d+)', '"index":9007199254740993', text, count=1),
        "5000 digits": lambda: re.sub(r'"index":(\d+)', '"index":' + "9" * 5000, text, count=1),
        "1e999": lambda: re.sub(r'"index":(\d+)', '"index":1e999', text, count=1),
        "trailing comma": lambda: text[:-1] + ",}",
        "second document": lambda: text + text,
        "comment": lambda: text + "//",
        "single quotes": lambda: text.replace('"', "'"),
        "truncated": lambda: data[: len(data) // 2],
        "empty": lambda: b"",
        "null": lambda: "null",
        "array around": lambda: f"[{text}]",
        "deep arrays": lambda: text.replace('"evidence":{', '"evidence":{"more":' + "[" * 70 + "]" * 70 + ",", 1),
        "200000 brackets": lambda: "[" * 200_000,
        "200000 brackets inside": lambda: text[:-1] + ',"x":' + "[" * 200_000,
        "10 MB of zeros": lambda: b"\0" * 10_000_000,
        "3 MB of spaces": lambda: text + " " * 3_000_000,
        "3 MB in a string": lambda: text.replace('"run_id":"', '"run_id":"' + "x" * 3_000_000, 1),
        "3 MB of arrays": lambda: text[:-1] + ',"x":[' + "[]," * 1_000_000 + "[]]}",
        "more than allowed": lambda: text + " " * (4 * 1024 * 1024),
        "another format": lambda: text.replace("mrv-bundle/1", "mrv-bundle/2", 1),
    }
    for name, change in respelt.items():
        changed = change()
        changed = changed.encode("utf-8", "surrogatepass") if isinstance(changed, str) else changed
        if changed != data:
            yield name, changed


def mixtures(value: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield bundles with parts of another run's bundle: each alone, and all that a receipt needs to look right."""
    for part in ("root", "run_id", "phase", "branches", "proof", "batch", "receipts"):
        if value[part] != other[part]:
            yield f"{part} of another run", sealed({**value, part: other[part]})
    for name in value["receipts"].keys() & other["receipts"].keys():
        receipt = other["receipts"][name]
        for place, mixed in (
            ("", receipt),
            (", evidence alone", {**value["receipts"][name], "evidence": receipt["evidence"]}),
            (", claiming ours", {**receipt, "commitment": value["receipts"][name]["commitment"]}),
            (", with our reference", {**receipt, "reference": value["receipts"][name]["reference"]}),
        ):
            if mixed != value["receipts"][name]:
                yield (
                    f"receipt {name} of another run{place}",
                    sealed({**value, "receipts": {**value["receipts"], name: mixed}}),
                )
    receipts = value["receipts"]
    for one in receipts:
        for two in receipts:
            if one < two:
                yield (
                    f"{one} and {two} change places",
                    sealed({**value, "receipts": {**receipts, one: receipts[two], two: receipts[one]}}),
                )
