# SPDX-License-Identifier: MIT
"""Strict JSON in, canonical JSON out: properties and exact messages."""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
import subprocess
from collections import ChainMap, UserList, namedtuple
from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum, StrEnum
from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mrv_core.canonical import (
    MAX_DEPTH,
    canonical_bytes,
    canonical_digest,
    parse_json,
    restore_doubles,
    to_json_value,
)
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(2**53, 1e21),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXT, inner, max_size=5)),
    max_leaves=20,
)


def parse(text: str | bytes) -> Any:
    return parse_json(text.encode() if isinstance(text, str) else text, what="x")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


class TestRoundTrip:
    @given(VALUES)
    @example(1e20)
    @example([2.0**53, -(2.0**53), 1e21, 5e-324, -0.0])
    def test_what_is_written_is_read_back(self, value: Any) -> None:
        data = canonical_bytes(value)
        again = parse_json(data, what="x")
        assert again == value
        assert canonical_bytes(again) == data
        assert json.loads(data, parse_int=float) == value

    @given(VALUES)
    def test_equals_the_oracle(self, value: Any) -> None:
        assert canonical_bytes(value).decode() == oracles.jcs(value)

    @given(VALUES)
    def test_to_json_value_changes_nothing_that_is_json_already(self, value: Any) -> None:
        assert to_json_value(value) == value
        assert canonical_bytes(to_json_value(value)) == canonical_bytes(value)

    @given(VALUES)
    def test_restore_doubles_undoes_another_parser(self, value: Any) -> None:
        data = canonical_bytes(value)
        assert canonical_bytes(restore_doubles(json.loads(data))) == data

    @given(st.one_of(TEXT, st.binary(max_size=40)))
    def test_arbitrary_input_is_read_or_refused(self, data: str | bytes) -> None:
        try:
            value = parse(data)
        except FormatError:
            return
        assert value == json.loads(data, parse_int=float)

    def test_digest_is_that_of_the_bytes(self) -> None:
        value = {"b": 1.0, "a": "\u00e9"}
        assert canonical_digest(value, "sha256") == Digest("sha256", hashlib.sha256(canonical_bytes(value)).digest())


class TestNesting:
    @given(st.text('[]{}",:1\\a ', max_size=40))
    def test_depth_is_what_the_parser_meets(self, text: str) -> None:
        """No document that the parser accepts passes the check with more levels than allowed."""
        try:
            depth = deepest(json.loads(text))
        except json.JSONDecodeError:
            return
        if depth:
            with pytest.raises(FormatError, match="nested deeper"):
                parse_json(text.encode(), what="x", max_depth=depth - 1)
        try:
            parse_json(text.encode(), what="x", max_depth=depth)
        except FormatError as error:
            assert "nested deeper" not in error.message  # noqa: PT017

    @pytest.mark.parametrize(
        "text",
        [
            '["[[[[[[[[[[", "{{{{{{{{{{"]',
            r'["\"[[[[[[[[[[", "\\", "[[[[[[[[[[[\\\""]',
            r'{"\\\\": "\"", "[[[[[[[[[[[[[[\\": "]]]]]"}',
            r'["", "", "[[[[[[[[[["]',
        ],
    )
    def test_brackets_in_strings_do_not_count(self, text: str) -> None:
        assert parse_json(text.encode(), what="x", max_depth=1) == json.loads(text)

    def test_limit_is_exact(self) -> None:
        assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH) == nested(MAX_DEPTH)
        with pytest.raises(FormatError, match="x: nested deeper than 64 levels"):
            parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))

    def test_writing_has_the_same_limit(self) -> None:
        assert canonical_bytes(nested(MAX_DEPTH)) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
        assert to_json_value(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
        for write in (canonical_bytes, to_json_value):
            with pytest.raises(FormatError, match="nested deeper than 64 levels"):
                write(nested(MAX_DEPTH + 1))
            with pytest.raises(FormatError, match="nested deeper than 64 levels"):
                write(nested(5000))

    def test_a_number_of_a_library_at_the_deepest_level(self) -> None:
        value: Any = np.float32(0.5)
        for _ in range(MAX_DEPTH):
            value = [value]
        assert canonical_bytes(to_json_value(value)) == b"[" * MAX_DEPTH + b"0.5" + b"]" * MAX_DEPTH

    def test_structures_that_contain_themselves(self) -> None:
        loop: dict[str, Any] = {"a": [1]}
        loop["a"].append(loop)
        for write in (canonical_bytes, to_json_value):
            with pytest.raises(FormatError, match="the structure at /a/1 contains itself"):
                write(loop)

    def test_a_part_that_stands_in_two_places_is_no_loop(self) -> None:
        part = [1]
        assert canonical_bytes({"a": part, "b": part}) == b'{"a":[1],"b":[1]}'
        assert to_json_value([part, part]) == [[1], [1]]


def deepest(value: Any) -> int:
    if isinstance(value, list | dict):
        return 1 + max(map(deepest, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": {"b": [1, NaN]}}', "x: at /a/b/1: NaN is not JSON"),
        ("-Infinity", "x: at /: -Infinity is not JSON"),
        ('{"n": 9007199254740993}', "x: at /n: integer beyond 2^53-1; write it as a string"),
        ("[1e999]", "x: at /0: number too large for a double"),
        ('{"a": {"k": 1, "k": 2}}', "x: at /a: key 'k' appears twice in one object"),
        ('{"k": NaN, "k": 1}', "x: at /: key 'k' appears twice in one object"),
        (r'{"a": "\ud800"}', "x: at /a: lone surrogate in the text"),
        (r'{"a": {"\ud800": 1}}', "x: at /a: lone surrogate in a key"),
        (r'{"\ud800": NaN}', "x: at /: lone surrogate in a key"),
        ('{"a":\n [1,]}', "x: not JSON: Illegal trailing comma before end of array at line 2 column 4"),
        ("", "x: not JSON: Expecting value at line 1 column 1"),
        (b"\xff", "x: not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "x: starts with a byte order mark"),
        ('{"\\u001b[31m\\u202e": NaN}', r"x: at /\x1b[31m\u202e: NaN is not JSON"),
    ],
)
def test_messages_name_the_place(text: str | bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(text)
    # Python 3.13 words the trailing comma differently from 3.11 and 3.12.
    assert (
        caught.value.message.replace(
            "Expecting value at line 2 column 5", "Illegal trailing comma before end of array at line 2 column 4"
        )
        == message
    )


def test_messages_are_short_whatever_the_document_holds() -> None:
    long = "k" * 100_000
    for text in (f'{{"{long}": NaN}}', f'{{"{long}": 1, "{long}": 2}}', "1" * 5000, "1" * 5000 + ".0"):
        with pytest.raises(FormatError) as caught:
            parse(text)
        assert len(caught.value.message) < 300


def test_surrogate_pairs_are_text() -> None:
    assert parse(r'{"\ud83d\ude00": "\ud83d\ude00"}') == {"\U0001f600": "\U0001f600"}


def test_size_limit_comes_first() -> None:
    assert parse_json(b"[1]", what="x", max_bytes=3) == [1]
    with pytest.raises(FormatError, match="x: 4 bytes is more than the 3 allowed"):
        parse_json(b"[[[[", what="x", max_bytes=3, max_depth=1)


class Colour(Enum):
    RED = "red"


class Name(str, Enum):  # noqa: UP042 - its str() is not its value, unlike StrEnum's
    A = "a"


class Title(StrEnum):
    A = "a"


class Level(IntEnum):
    LOW = 1


Point = namedtuple("Point", ["x", "y"])


class TestToJsonValue:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ((1, (2,)), [1, [2]]),
            (Point(1, 2), [1, 2]),
            (range(3), [0, 1, 2]),
            (UserList([1]), [1]),
            (ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
            (Name.A, "a"),
            (Title.A, "a"),
            ({Name.A: Title.A}, {"a": "a"}),
            (Level.LOW, 1),
            (np.int8(-3), -3),
            (np.uint64(7), 7),
            (np.bool_(True), True),
            (np.float16(0.1), 0.0999755859375),
            (np.float32(0.1), 0.10000000149011612),
            (np.float64(0.1), 0.1),
            (np.array(2.5), 2.5),
            (np.str_("t"), "t"),
        ],
    )
    def test_converted_exactly(self, value: Any, expected: Any) -> None:
        result = to_json_value(value)
        assert result == expected
        assert canonical_bytes(result) == canonical_bytes(expected)  # True is not 1 here
        assert not isinstance(result, np.generic | Enum)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"a": [b"x"]}, "value at /a/0 has type builtins.bytes"),
            (bytearray(b"x"), "bytearray"),
            (memoryview(b"x"), "memoryview"),
            ({1, 2}, "builtins.set"),
            (Colour.RED, "Colour"),
            (np.array([1.0]), "numpy.ndarray"),
            (np.array([[1.0]]), "numpy.ndarray"),
            (np.complex64(1), "numpy.complex64"),
            (np.longdouble(1), "numpy.longdouble"),
            (np.datetime64("2026-01-11"), "numpy.datetime64"),
            (np.datetime64("NaT"), "numpy.datetime64"),
            (object, "builtins.type"),
            ({"a": {1: 2}}, "a key of type int below /a is not text"),
            ({None: 1}, "a key of type NoneType below / is not text"),
            ({b"a": 1}, "a key of type bytes below / is not text"),
            ({("a",): 1}, "a key of type tuple below / is not text"),
            ({Level.LOW: 1}, "a key of type Level below / is not text"),
            ([2**53], "integer at /0 is beyond 2^53-1"),
            ([-(2**53)], "integer at /0 is beyond 2^53-1"),
            ([10**5000], "integer at /0 is beyond 2^53-1"),
            ({"n": np.uint64(2**63)}, "integer at /n is beyond 2^53-1"),
            ({"a": "\ud800"}, "lone surrogate in the text at /a"),
            ({"\udfff": 1}, "lone surrogate in the text at /"),
            ({"loss": math.nan}, "nan at /loss has no JSON form"),
            ([np.float32("inf")], "inf at /0 has no JSON form"),
        ],
    )
    def test_refused_with_the_place(self, value: Any, message: str) -> None:
        with pytest.raises(FormatError) as caught:
            to_json_value(value)
        assert message in caught.value.message
        with pytest.raises(FormatError):
            canonical_bytes(value)

    def test_tensors(self) -> None:
        torch = pytest.importorskip("torch")
        given = [torch.tensor(0.5), torch.tensor(True), torch.tensor(1.5, dtype=torch.bfloat16, requires_grad=True)]
        assert json.dumps(to_json_value([*given, torch.Size([2, 3])])) == "[0.5, true, 1.5, [2, 3]]"
        with pytest.raises(FormatError, match=r"torch\.Tensor"):
            to_json_value(torch.zeros(2))

    def test_keys_that_become_one_are_refused(self) -> None:
        with pytest.raises(FormatError, match="key 'a' appears twice in the object at /"):
            to_json_value(Twice())

    def test_numbers_that_are_not_finite_on_request(self) -> None:
        value = {"loss": math.nan, "more": [np.float32("inf"), -math.inf, 1.5]}
        assert to_json_value(value, non_finite=True) == {
            "loss": {"non_finite": "NaN"},
            "more": [{"non_finite": "Infinity"}, {"non_finite": "-Infinity"}, 1.5],
        }


class Twice(Mapping[str, int]):
    """A mapping with two entries under one name, as an email-like header table has."""

    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "a"])

    def __len__(self) -> int:
        return 2


def test_canonical_bytes_takes_json_types_only() -> None:
    """Conversion is a step of its own, so nobody hashes a rounded number unknowingly."""
    with pytest.raises(FormatError, match=r"numpy\.float32") as caught:
        canonical_bytes({"a": np.float32(0.1)})
    assert caught.value.hint == "convert it with to_json_value first"
    assert canonical_bytes({Name.A: [Title.A, Level.LOW, (True, 1)]}) == b'{"a":["a",1,[true,1]]}'


JS = """
const c = v => v === null || typeof v !== "object" ? JSON.stringify(v)
  : Array.isArray(v) ? "[" + v.map(c).join() + "]"
  : "{" + Object.keys(v).sort().map(k => JSON.stringify(k) + ":" + c(v[k])).join() + "}";
const lines = require("fs").readFileSync(0, "utf8").split("\\n");
process.stdout.write(lines.map(line => c(JSON.parse(line))).join("\\n"));
"""


@pytest.mark.node
def test_equals_what_javascript_writes(node: str) -> None:
    """ECMAScript is the definition of RFC 8785's numbers, strings and order of names."""
    rng = random.Random(8785)  # noqa: S311
    values = [
        {arbitrary_text(rng): [arbitrary_double(rng), arbitrary_text(rng)] for _ in range(4)} for _ in range(3000)
    ]
    lines = "\n".join(map(json.dumps, values))
    result = subprocess.run([node, "-e", JS], input=lines.encode(), capture_output=True, check=True, timeout=60)
    theirs = result.stdout.decode().split("\n")
    assert [canonical_bytes(value).decode() for value in values] == theirs


def arbitrary_double(rng: random.Random) -> float:
    (value,) = struct.unpack(">d", rng.randbytes(8))
    return float(value) if math.isfinite(value) else 0.0


def arbitrary_text(rng: random.Random) -> str:
    points = (rng.choice((rng.randrange(0x80), rng.randrange(0x110000))) for _ in range(6))
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
