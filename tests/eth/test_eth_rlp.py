# SPDX-License-Identifier: MIT
"""The RLP decoder reads what pyrlp writes, and refuses every second way of writing it."""

from __future__ import annotations

import contextlib

import pytest
import rlp as pyrlp
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_eth import rlp
from mrv_core.errors import VerificationError

ITEMS = st.recursive(st.binary(max_size=70), lambda children: st.lists(children, max_size=20), max_leaves=60)


def depth(item: object) -> int:
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


@given(ITEMS)
def test_reads_what_pyrlp_writes(item: object) -> None:
    if depth(item) <= rlp.MAX_DEPTH:
        assert rlp.decode(pyrlp.encode(item)) == item
    else:
        with pytest.raises(VerificationError, match="nested deeper"):
            rlp.decode(pyrlp.encode(item))


@given(st.binary(max_size=80))
def test_accepts_nothing_that_pyrlp_refuses(data: bytes) -> None:
    with contextlib.suppress(VerificationError):
        assert pyrlp.encode(rlp.decode(data)) == data


@given(ITEMS, st.data())
def test_one_encoding_for_each_item(item: object, data: st.DataObject) -> None:
    encoded = bytearray(pyrlp.encode(item))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(VerificationError):
        assert rlp.decode(bytes(encoded)) != item


@given(st.integers(0, 2**440 - 1))
def test_integers_are_written_as_pyrlp_does(value: int) -> None:
    assert rlp.encode_int(value) == pyrlp.encode(value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "ends where"),
        ("8180", None),  # shortest form of the byte 0x80
        ("8101", "single byte"),
        ("817f", "single byte"),
        ("b80180", "shortest"),
        ("b837" + "00" * 55, "shortest"),
        ("b90038" + "00" * 56, "leading zeros"),
        ("b9", "cut off"),
        ("bfffffffffffffffff", "beyond"),
        ("82ff", "beyond"),
        ("c28080", None),
        ("c280", "beyond"),
        ("c18200", "beyond"),
        ("f80180", "shortest"),
        ("c000", "followed by 1"),
        ("8080", "followed by 1"),
    ],
)
def test_shortest_form_only(data: str, why: str | None) -> None:
    if why is None:
        assert pyrlp.encode(rlp.decode(bytes.fromhex(data))).hex() == data
    else:
        with pytest.raises(VerificationError, match=why):
            rlp.decode(bytes.fromhex(data))


def test_deep_nesting_is_refused_without_recursion() -> None:
    data = b""
    for _ in range(50_000):
        data = rlp_list(data)
    with pytest.raises(VerificationError, match="nested deeper"):
        rlp.decode(data)


def rlp_list(content: bytes) -> bytes:
    if len(content) <= 55:
        return bytes([0xC0 + len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([0xF7 + len(size)]) + size + content


def test_typed_reading_refuses_the_wrong_kind() -> None:
    for call in (
        lambda: rlp.as_list(b"", what="x"),
        lambda: rlp.as_list([b""], what="x", length=2),
        lambda: rlp.as_bytes([], what="x"),
        lambda: rlp.as_bytes(b"ab", what="x", size=3),
        lambda: rlp.as_int(b"\0", what="x"),
        lambda: rlp.as_int(b"\1" * 33, what="x"),
    ):
        with pytest.raises(VerificationError, match=r"^x "):
            call()
    assert rlp.as_int(b"", what="x") == 0
