# SPDX-License-Identifier: MIT
"""DAG-CBOR compared with an independent library, and everything that is not the one encoding of a value refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dag_cbor
import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_ipfs.cbor import decode, encode
from mrv_backends_ipfs.cid import Cid
from mrv_core.errors import FormatError

cids = st.builds(Cid, st.sampled_from([0x55, 0x70, 0x71]), st.binary(min_size=32, max_size=32))
scalars = st.integers(0, 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=300) | cids
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=30),
    max_leaves=6,  # less deep than what is read
)


def theirs(value: Any) -> Any:
    """Return a value as the other library takes it."""
    if isinstance(value, Cid):
        return multiformats.CID.decode(str(value))
    if isinstance(value, dict):
        return {key: theirs(item) for key, item in value.items()}
    return [theirs(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_values_are_encoded_as_an_independent_library_encodes_them(value: Any) -> None:
    block = encode(value)
    assert block == dag_cbor.encode(theirs(value))
    assert decode(block) == value


@given(st.lists(st.text(max_size=4), unique=True, max_size=30))
def test_the_order_of_a_map_is_not_that_of_its_making(keys: list[str]) -> None:
    assert encode(dict.fromkeys(keys, 1)) == encode(dict.fromkeys(reversed(keys), 1))


@pytest.mark.parametrize(
    "value", [-1, 2**64, 1.5, True, None, (1,), {1: 2}, {"a": -1}, "\ud800", {"\ud800": 1}, [None]]
)
def test_what_has_no_place_in_a_block_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        encode(value)


@pytest.mark.parametrize(
    ("what", "block"),
    [
        ("nothing", ""),
        ("more behind it", "0100"),
        ("an integer in a longer form", "1801"),
        ("an integer in a much longer form", "1b0000000000000001"),
        ("a negative integer", "20"),
        ("a float", "fb3ff0000000000000"),
        ("null", "f6"),
        ("true", "f5"),
        ("undefined", "f7"),
        ("a list of indefinite length", "9f01ff"),
        ("bytes of indefinite length", "5f4100ff"),
        ("keys out of order", "a2616201616101"),
        ("keys in bytewise order", "a2626161016162f6"),
        ("a key twice", "a2616101616101"),
        ("a key that is a number", "a10101"),
        ("a key that is a list", "a18001"),
        ("text that is not UTF-8", "61ff"),
        ("text that is cut off", "6261"),
        ("a list that is cut off", "8201"),
        ("a list that is said to be long", "9b0000000100000000"),
        ("a map that is said to be long", "bbffffffffffffffff"),
        ("another tag", "c249010000000000000000"),
        ("a link to text", "d82a6161"),
        ("a link without a multibase prefix", "d82a5824" + "01551220" + "00" * 32),
        ("a link to a CID with another hash", "d82a5825" + "0001551620" + "00" * 32),
        ("a tag in a longer form", "d9002a5825" + "0001551220" + "00" * 32),
    ],
)
def test_anything_but_the_one_encoding_is_refused(what: str, block: str) -> None:
    with pytest.raises(FormatError):
        decode(bytes.fromhex(block))


@given(values, st.data())
def test_a_changed_block_is_another_value_or_refused(value: Any, data: st.DataObject) -> None:
    block = bytearray(encode(value))
    block[data.draw(st.integers(0, len(block) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = decode(bytes(block))
    except FormatError:
        return
    assert encode(changed) == block


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x61a", b"\xd8\x2a"])
def test_deep_nesting_does_not_end_the_process(opening: bytes) -> None:
    with pytest.raises(FormatError):
        decode(opening * 200_000)


@pytest.mark.parametrize("item", [0, [], {}, "", b""])
def test_a_block_of_nothing_but_tiny_items_is_not_taken_apart(item: Any) -> None:
    """A million of them fit into a block, and would take seconds and a hundred megabytes."""
    assert decode(encode([item] * 1000)) == [item] * 1000
    with pytest.raises(FormatError, match="too many items"):
        decode(encode([item] * 100_000))


def test_public_blocks_are_read_or_refused_and_never_read_otherwise(vectors: Callable[[str], Path]) -> None:
    read = 0
    files = [path for path in vectors("ipld-cid/fixtures").rglob("*.dag-cbor") if path.is_file()]
    assert len(files) > 20
    for path in files:
        block = path.read_bytes()
        assert str(Cid.of(block, 0x71)) == path.stem
        try:
            value = decode(block)
        except FormatError:
            continue
        assert theirs(value) == dag_cbor.decode(block)
        read += 1
    assert read > 5


def test_public_blocks_that_must_be_refused_are(vectors: Callable[[str], Path]) -> None:
    cases = json.loads(vectors("ipld-cid/negative-fixtures/dag-cbor/decode/duplicate-keys.json").read_bytes())
    assert cases
    for case in cases:
        with pytest.raises(FormatError):
            decode(bytes.fromhex(case["hex"]))
