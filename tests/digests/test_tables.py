# SPDX-License-Identifier: MIT
"""Tables and columns against an oracle that goes slot by slot, in every form that Arrow, polars and pandas have."""

from __future__ import annotations

import datetime as dt
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import oracles
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_core.digests import columns, content_node, tables
from mrv_core.errors import ConfigurationError, FormatError, UnsupportedTypeError
from mrv_core.provenance_tree import MerkleNode

# --- The oracle, written from docs/spec/digests.md. A type is its JSON text; that of an ordered dictionary also lists
# its categories. A slot is None or a value: bytes (of a fixed width, or text), a list, a map's list of pairs, a
# struct's tuple.

Kind = Any
Slots = Sequence[Any]


def le64(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def kind_text(kind: Kind) -> Any:
    match kind:
        case ["ordered", inner, _]:
            return ["ordered", kind_text(inner)]
        case ["struct", *fields]:
            return ["struct", *([name, kind_text(inner)] for name, inner in fields)]
        case ["list" | "map" | "fixed_size_list" as name, *parts]:
            return [name, *(part if isinstance(part, int) else kind_text(part) for part in parts)]
    return kind


def level(kind: Kind, slots: Slots, h: Callable[[bytes], bytes]) -> bytes:
    if kind == "null":
        return oracles.u64(len(slots))
    if kind[0] == "ordered":
        return level(kind[1], kind[2] if slots else [], h) + level(kind[1], slots, h)
    nulls = h(le64([position for position, slot in enumerate(slots) if slot is None]))
    return oracles.u64(len(slots)) + nulls + level_values(kind, slots, h)


def level_values(kind: Kind, slots: Slots, h: Callable[[bytes], bytes]) -> bytes:
    present = [slot for slot in slots if slot is not None]
    items = [item for slot in present for item in slot]
    match kind:
        case "string" | "binary":
            return h(le64(list(map(len, present)))) + h(b"".join(present))
        case ["list", inner]:
            return h(le64(list(map(len, present)))) + level(inner, items, h)
        case ["map", key, value]:
            return level_values(["list", ["struct", ["key", key], ["value", value]]], slots, h)
        case ["fixed_size_list", inner, _]:
            return level(inner, items, h)
        case ["struct", *fields]:
            parts = [[None if slot is None else slot[at] for slot in slots] for at in range(len(fields))]
            return b"".join(level(inner, part, h) for (_, inner), part in zip(fields, parts, strict=True))
    return h(b"".join(present))


def oracle(kind: Kind, slots: Slots, algorithm: str = "blake3") -> str:
    def h(data: bytes) -> bytes:
        return bytes.fromhex(oracles.content_digest(algorithm, data).partition(":")[2])

    message = oracles.field(oracles.jcs(kind_text(kind))) + level(kind, slots, h)
    return oracles.content_digest(algorithm, message)


# --- Forms: the same slots in the many ways in which Arrow may hold them.

WIDTHS = {
    "int8": (pa.int8(), 1),
    "uint16": (pa.uint16(), 2),
    "int32": (pa.int32(), 4),
    "uint64": (pa.uint64(), 8),
    "float16": (pa.float16(), 2),
    "float32": (pa.float32(), 4),
    "float64": (pa.float64(), 8),
    "date32": (pa.date32(), 4),
    "date64": (pa.date64(), 8),
    "month_day_nano_interval": (pa.month_day_nano_interval(), 16),
    ("time", "ms"): (pa.time32("ms"), 4),
    ("time", "ns"): (pa.time64("ns"), 8),
    ("timestamp", "us", None): (pa.timestamp("us"), 8),
    ("timestamp", "ns", "Europe/Berlin"): (pa.timestamp("ns", "Europe/Berlin"), 8),
    ("duration", "s"): (pa.duration("s"), 8),
    ("decimal", 128, 38, 3): (pa.decimal128(38, 3), 16),
    ("decimal", 256, 70, -2): (pa.decimal256(70, -2), 32),
    ("fixed_size_binary", 3): (pa.binary(3), 3),
}
FIXED = [list(kind) if isinstance(kind, tuple) else kind for kind in WIDTHS]
Form = Callable[[Slots], pa.Array]


def arrow_type(kind: Kind) -> tuple[pa.DataType, int]:
    return WIDTHS[tuple(kind) if isinstance(kind, list) else kind]


def bitmap(flags: Sequence[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(flags, dtype=bool), bitorder="little").tobytes())


def validity(slots: Slots) -> pa.Buffer | None:
    return bitmap([slot is not None for slot in slots]) if None in slots else None


def mask(slots: Slots) -> pa.Array:
    return pa.array([slot is None for slot in slots], pa.bool_())


def filled(kind: Kind, slots: Slots) -> list[Any]:
    """The slots with rubbish instead of nulls."""
    return [rubbish(kind) if slot is None else slot for slot in slots]


def rubbish(kind: Kind) -> Any:
    match kind:
        case "null":
            return None
        case "bool":
            return b"\1"
        case "string" | "binary":
            return b"rubbish under a null"
        case ["list", inner]:
            return [rubbish(inner)] * 2
        case ["fixed_size_list", inner, size]:
            return [rubbish(inner)] * size
        case ["map", key, value]:
            return [(rubbish(key), rubbish(value))]
        case ["struct", *fields]:
            return tuple(rubbish(inner) for _, inner in fields)
        case ["ordered", _, categories]:
            return categories[-1]
    return b"\x5a" * arrow_type(kind)[1]


def fixed_form(kind: Kind) -> Form:
    def make(slots: Slots) -> pa.Array:
        data = pa.py_buffer(b"".join(filled(kind, slots)))
        return pa.Array.from_buffers(arrow_type(kind)[0], len(slots), [validity(slots), data])

    return make


def bool_form(slots: Slots) -> pa.Array:
    data = bitmap([slot == b"\1" for slot in filled("bool", slots)])
    return pa.Array.from_buffers(pa.bool_(), len(slots), [validity(slots), data])


def offsets_form(kind: str, large: bool) -> Form:
    arrow = {"string": [pa.string(), pa.large_string()], "binary": [pa.binary(), pa.large_binary()]}[kind][large]

    def make(slots: Slots) -> pa.Array:
        parts = filled(kind, slots)
        ends = np.cumsum([0, *map(len, parts)]).astype(np.int64 if large else np.int32)
        buffers = [validity(slots), pa.py_buffer(ends), pa.py_buffer(b"".join(parts))]
        return pa.Array.from_buffers(arrow, len(slots), buffers)

    return make


def view_form(kind: str) -> Form:
    arrow = pa.string_view() if kind == "string" else pa.binary_view()
    return lambda slots: pa.array(slots, pa.binary_view()).cast(arrow)


def text_forms(kind: str) -> list[Form]:
    return [offsets_form(kind, large=False), offsets_form(kind, large=True), view_form(kind)]


def list_form(kind: Kind, inner: Form, large: bool) -> Form:
    array = pa.LargeListArray if large else pa.ListArray

    def make(slots: Slots) -> pa.Array:
        parts = filled(kind, slots)
        ends = pa.array(np.cumsum([0, *map(len, parts)]), pa.int64() if large else pa.int32())
        return array.from_arrays(ends, inner([item for part in parts for item in part]), mask=mask(slots))

    return make


def list_view_form(kind: Kind, inner: Form, large: bool) -> Form:
    """Lists that lie in reverse order and share what they can."""
    array, number = (pa.LargeListViewArray, pa.int64()) if large else (pa.ListViewArray, pa.int32())

    def make(slots: Slots) -> pa.Array:
        items: list[Any] = []
        starts: dict[int, int] = {}
        parts = filled(kind, slots)
        for part in reversed(parts):
            starts[id(part)] = starts.get(id(part), len(items))
            items += part
        sizes = pa.array([len(part) for part in parts], number)
        return array.from_arrays(
            pa.array([starts[id(p)] for p in parts], number), sizes, inner(items), mask=mask(slots)
        )

    return make


def fixed_list_form(kind: Kind, inner: Form) -> Form:
    def make(slots: Slots) -> pa.Array:
        items = inner([item for part in filled(kind, slots) for item in part])
        return pa.FixedSizeListArray.from_arrays(items, kind[2], mask=mask(slots))

    return make


def map_form(kind: Kind, key: Form, value: Form) -> Form:
    def make(slots: Slots) -> pa.Array:
        parts = filled(kind, slots)
        pairs = [pair for part in parts for pair in part]
        ends = pa.array(np.cumsum([0, *map(len, parts)]), pa.int32())
        keys, items = key([pair[0] for pair in pairs]), value([pair[1] for pair in pairs])
        return pa.MapArray.from_arrays(ends, keys, items, mask=mask(slots))

    return make


def struct_form(kind: Kind, inner: Sequence[Form]) -> Form:
    names = [name for name, _ in kind[1:]]

    def make(slots: Slots) -> pa.Array:
        parts = filled(kind, slots)
        fields = [form([part[at] for part in parts]) for at, form in enumerate(inner)]
        return pa.StructArray.from_arrays(fields, names=names, mask=mask(slots))

    return make


def dictionary_form(inner: Form, index: pa.DataType) -> Form:
    """A dictionary with an entry that no slot uses, one that is null, and one that is there twice."""

    def make(slots: Slots) -> pa.Array:
        entries = [None, *reversed(slots), *slots]
        indices = [None if slot is None and at % 2 else entries.index(slot) for at, slot in enumerate(slots)]
        return pa.DictionaryArray.from_arrays(pa.array(indices, index), inner(entries))

    return make


def ordered_form(categories: Slots, inner: Form) -> Form:
    def make(slots: Slots) -> pa.Array:
        indices = [None if slot is None else categories.index(slot) for slot in slots]
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int16()), inner(categories), ordered=True)

    return make


@st.composite
def forms(draw: st.DrawFn, kind: Kind) -> Form:
    """A way to hold slots of a kind, cut out of a longer array."""
    make = draw(whole_forms(kind))
    before, after = draw(st.integers(0, 9)), draw(st.integers(0, 2))

    def cut(slots: Slots) -> pa.Array:
        return make([*[rubbish(kind)] * before, *slots, *[rubbish(kind)] * after]).slice(before, len(slots))

    return cut


def whole_forms(kind: Kind) -> st.SearchStrategy[Form]:
    match kind:
        case "null":
            return st.just(lambda slots: pa.nulls(len(slots)))
        case "bool":
            return st.just(bool_form)
        case "string" | "binary":
            plain = text_forms(kind)
            return st.sampled_from(plain + [dictionary_form(form, pa.uint8()) for form in plain])
        case ["list", inner]:
            makers = st.sampled_from([list_form, list_view_form])
            return st.builds(lambda m, f, large: m(kind, f, large), makers, forms(inner), st.booleans())
        case ["fixed_size_list", inner, _]:
            return st.builds(lambda form: fixed_list_form(kind, form), forms(inner))
        case ["map", key, value]:
            return st.builds(lambda k, v: map_form(kind, k, v), forms(key), forms(value))
        case ["struct", *fields]:
            inner_forms = st.tuples(*(forms(inner) for _, inner in fields))
            return st.builds(lambda inner: struct_form(kind, inner), inner_forms)
        case ["ordered", inner, categories]:
            return st.sampled_from([ordered_form(categories, form) for form in text_forms(inner)])
    plain_form = fixed_form(kind)
    # Arrow does not concatenate dictionaries of floats that hold NaN and null.
    is_float = isinstance(kind, str) and kind.startswith("float")
    return st.sampled_from([plain_form] if is_float else [plain_form, dictionary_form(plain_form, pa.int64())])


def slots_of(kind: Kind, nulls: bool = True) -> st.SearchStrategy[Any]:
    present = st.deferred(lambda: present_slots(kind))
    return (st.none() | present) if nulls else present


def present_slots(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case "null":
            return st.none()
        case "bool":
            return st.sampled_from([b"\0", b"\1"])
        case "string":
            return st.text(max_size=20).map(str.encode)
        case "binary":
            return st.binary(max_size=20)
        case ["list", inner]:
            return st.lists(slots_of(inner), max_size=3)
        case ["fixed_size_list", inner, size]:
            return st.lists(slots_of(inner), min_size=size, max_size=size)
        case ["map", key, value]:
            return st.lists(st.tuples(slots_of(key, nulls=False), slots_of(value)), max_size=3)
        case ["struct", *fields]:
            return st.tuples(*(slots_of(inner) for _, inner in fields))
        case ["ordered", _, categories]:
            return st.sampled_from(categories)
    width = arrow_type(kind)[1]
    return st.binary(min_size=width, max_size=width)


texts = st.sampled_from(["string", "binary"])
flat_kinds = st.sampled_from(FIXED) | texts | st.sampled_from(["bool", "null"])
ordered_kinds = st.lists(st.binary(max_size=3), min_size=1, max_size=3, unique=True).map(
    lambda categories: ["ordered", "binary", categories]
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
kinds = st.recursive(
    flat_kinds | ordered_kinds,
    lambda inner: st.one_of(
        inner.map(lambda kind: ["list", kind]),
        st.tuples(inner, st.integers(1, 2)).map(lambda pair: ["fixed_size_list", *pair]),
        st.tuples(st.just("int8") | texts, inner).map(lambda pair: ["map", *pair]),
        st.lists(st.tuples(names, inner).map(list), min_size=1, max_size=2).map(lambda fields: ["struct", *fields]),
    ),
    max_leaves=4,
)


@contextmanager
def small_pieces(rows: int, block: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "ROWS", rows)
        patch.setattr(columns, "BLOCK", block)
        yield


def chunked(form: Form, slots: Slots, cuts: Sequence[int]) -> pa.ChunkedArray:
    ends = sorted({min(cut, len(slots)) for cut in cuts} | {0, len(slots)})
    chunks = [form(slots[start:end]) for start, end in pairwise(ends)]
    return pa.chunked_array(chunks, form([]).type)


def leaf(content: Any, algorithm: str = "blake3") -> str:
    return str(content_node(content, algorithm=algorithm, progress=False).digest)


@given(st.data())
def test_against_the_oracle_in_any_form(data: st.DataObject) -> None:
    kind = data.draw(kinds, "kind")
    slots = data.draw(st.lists(slots_of(kind), max_size=8), "slots")
    column = chunked(data.draw(forms(kind)), slots, data.draw(st.lists(st.integers(0, 8), max_size=2), "cuts"))
    algorithm = data.draw(st.sampled_from(["blake3", "sha256"]))
    pieces = data.draw(st.sampled_from([(1, 1), (3, 40), (1024, 1024)]), "pieces")
    with small_pieces(*pieces):
        assert leaf(column, algorithm) == oracle(kind, slots, algorithm)


# --- Columns


def test_the_examples_of_the_specification() -> None:
    numbers, texts = pa.array([1, None, 3]), pa.array(["ab", "", None])
    assert leaf(numbers, "sha256") == "sha256:2ccfdebf227cc8ee02be566fc902b611184235934091ce477d65a6a60eb2f86b"
    assert leaf(texts) == "blake3:ee1f66f4f16da8b641709996848f777f74d2f22e34053e0eb4fae0d3ba302d12"


ARROW_TYPES = [
    *(arrow for arrow, _ in WIDTHS.values()),
    *(pa.int16(), pa.int64(), pa.uint8(), pa.uint32(), pa.bool_(), pa.null(), pa.binary(0), pa.binary(8)),
    *(pa.timestamp("s"), pa.timestamp("us", "UTC"), pa.timestamp("us", "+00:00"), pa.duration("ms"), pa.time32("s")),
    *(pa.time64("us"), pa.decimal32(9, 2), pa.decimal64(18, 2), pa.decimal128(38, 2), pa.decimal128(37, 2)),
    *(
        pa.string(),
        pa.binary(),
        pa.list_(pa.int8()),
        pa.list_(pa.int16()),
        pa.list_(pa.int8(), 2),
        pa.list_(pa.int8(), 0),
    ),
    *(
        pa.struct([]),
        pa.struct([("a", pa.int8())]),
        pa.struct([("b", pa.int8())]),
        pa.list_(pa.struct([("a", pa.int8())])),
    ),
    *(pa.map_(pa.string(), pa.int8()), pa.list_(pa.struct([("key", pa.string()), ("value", pa.int8())]))),
    pa.dictionary(pa.int8(), pa.string(), ordered=True),
]


@pytest.mark.parametrize("length", [0, 2])
def test_every_type_has_digests_of_its_own(length: int) -> None:
    found = {leaf(pa.nulls(length, arrow)): arrow for arrow in ARROW_TYPES}
    assert len(found) == len(ARROW_TYPES)


@pytest.mark.parametrize("arrow", ARROW_TYPES, ids=str)
def test_no_rows_are_the_same_in_no_chunk_and_in_empty_ones(arrow: pa.DataType) -> None:
    empty = pa.chunked_array([], arrow)
    assert leaf(empty) == leaf(pa.nulls(0, arrow)) == leaf(pa.chunked_array([pa.nulls(3, arrow).slice(3)] * 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0.0], [-0.0]),
        ([0.5, None], [0.5, float("nan")]),
        ([b"ab", b"c"], [b"a", b"bc"]),
        ([b""], [None]),
        ([[], [1]], [[1], []]),
        ([None, [1]], [[], [1]]),
        ([[None]], [[]]),
        ([{"a": None}], [None]),
        ([1, 2], [2, 1]),
        ([1, 1], [1, 1, 1]),
        ([0, None], [None, 0]),
    ],
    ids=str,
)
def test_values_that_are_easily_confused(one: list[Any], other: list[Any]) -> None:
    left = pa.array(one)
    assert leaf(left) != leaf(pa.array(other, left.type))


def test_floats_are_hashed_bit_for_bit() -> None:
    patterns = np.array([0x7FF8 << 48, 0xFFF8 << 48, (0x7FF8 << 48) + 1, (0x7FF0 << 48) + 1], np.uint64)
    digests = {leaf(pa.array(patterns[at : at + 1].view(np.float64))) for at in range(4)}
    digests |= {leaf(pl.Series(patterns[at : at + 1].view(np.float64))) for at in range(4)}
    assert len(digests) == 4


def test_dictionaries_are_storage_unless_they_are_ordered() -> None:
    def encoded(indices: list[int], entries: list[str], ordered: bool) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(entries), ordered=ordered)

    assert leaf(encoded([0, 1], ["a", "b"], False)) == leaf(encoded([1, 0], ["b", "a", "c"], False))
    ordered = [
        encoded([0, 1], ["a", "b"], True),
        encoded([1, 0], ["b", "a"], True),
        encoded([0, 1], ["a", "b", "c"], True),
        pa.array(["a", "b"]),
    ]
    assert len(set(map(leaf, ordered))) == 4
    with pytest.raises(FormatError, match="ordered categories differ from chunk to chunk"):
        leaf(pa.chunked_array(ordered[:2]))
    empty = [array.slice(2) for array in ordered[:2]]
    assert leaf(pa.chunked_array([empty[1], ordered[0], empty[1]])) == leaf(ordered[0])
    assert leaf(empty[0]) == leaf(empty[1]) == leaf(pa.chunked_array([], ordered[0].type))


@pytest.mark.parametrize(
    "lists", [pa.list_(pa.int32()), pa.list_(pa.int32(), 4), pa.map_(pa.int8(), pa.int32())], ids=str
)
def test_names_and_nullability_of_items_are_not_content(lists: pa.DataType) -> None:
    def renamed(field: pa.Field) -> pa.Field:
        return field.with_name("other").with_nullable(False).with_metadata({"a": "b"})

    if pa.types.is_map(lists):
        other = pa.map_(renamed(lists.key_field), renamed(lists.item_field), keys_sorted=True)
    elif pa.types.is_list(lists):
        other = pa.list_(renamed(lists.value_field))
    else:
        other = pa.list_(renamed(lists.value_field), lists.list_size)
    slots = [[(1, 2)], [(3, 4)]] if pa.types.is_map(lists) else [[1, 2, 3, 4]]
    assert leaf(pa.array(slots, lists)) == leaf(pa.array(slots, other))


@pytest.mark.parametrize("lists", [pa.list_, pa.large_list, pa.list_view, lambda kind: pa.list_(kind, 2)])
def test_nothing_but_nulls_of_a_type_that_arrow_cannot_build(lists: Callable[[pa.DataType], pa.DataType]) -> None:
    arrow = lists(pa.dictionary(pa.int8(), pa.float16()))
    assert leaf(pa.nulls(2, arrow)) == leaf(pa.nulls(2, lists(pa.float16())))


def test_a_million_rows() -> None:
    numbers = np.arange(1_000_000, dtype=np.int64) * 7919
    slots = [number.tobytes() for number in numbers]
    assert leaf(pa.array(numbers)) == oracle("int64", slots)
    with_nulls = pa.array(numbers, mask=numbers % 3 == 0)
    assert leaf(with_nulls) == oracle("int64", [None if at % 3 == 0 else slot for at, slot in enumerate(slots)])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (columns, tables):
        monkeypatch.setattr(module, "BLOCK", 1 << 18)
        monkeypatch.setattr(module, "ROWS", 1 << 14)
    numbers, odd = np.arange(1 << 20), np.arange(1 << 20) % 2 == 1
    texts = pa.array(numbers).cast(pa.string())
    contents = [
        pa.array(numbers),
        pa.array(numbers, mask=odd),
        pa.array(odd),
        texts,
        texts.cast(pa.string_view()),
        pa.array([f"category {number}" for number in range(100)]).take(pa.array(numbers % 100)).dictionary_encode(),
        pa.FixedSizeListArray.from_arrays(pa.array(numbers), 16, mask=pa.array(odd[: 1 << 16])),
        pa.ListArray.from_arrays(pa.array(np.arange(0, (1 << 20) + 1, 16, np.int32)), texts),
        pd.Series(numbers, index=numbers[::-1]),
        pd.Series(["long text " * 1000] * 2000, dtype=object),
    ]
    usual = pa.default_memory_pool()
    for content in contents:
        pool = pa.proxy_memory_pool(usual)
        pa.set_memory_pool(pool)
        try:
            leaf(content)
        finally:
            pa.set_memory_pool(usual)
        assert pool.max_memory() < 4 << 18, content


class Money(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int64(), "tests.money")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Money:
        return cls()


MONEY = pa.ExtensionArray.from_storage(Money(), pa.array([5]))
UNION = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"]))


@pytest.mark.parametrize(
    ("array", "hint"),
    [(MONEY, "int64"), (UNION, "cast it"), (RUNS, "run_end_decode")],
)
def test_unsupported_types(array: pa.Array, hint: str) -> None:
    for content in (array, pa.StructArray.from_arrays([array], ["inner"]), pa.chunked_array([], array.type)):
        with pytest.raises(UnsupportedTypeError, match="price") as caught:
            content_node(pa.table({"price": content}))
        assert hint in str(caught.value.hint)


def test_malformed_arrow_data() -> None:
    stream = io.BytesIO()
    table = pa.table({"name": pa.array(["abc", "de"])})
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    offsets = np.array([0, 3, 5], np.int32).tobytes()
    assert stream.getvalue().count(offsets) == 1
    damaged = stream.getvalue().replace(offsets, np.array([0, 3, 500], np.int32).tobytes())
    broken = pa.ipc.open_stream(damaged).read_all()
    for content in (broken, broken.to_batches()[0], broken.column(0), broken.column(0).chunk(0)):
        with pytest.raises(FormatError, match="Arrow cannot read the values"):
            content_node(content)


def test_a_dictionary_index_that_is_out_of_range() -> None:
    indices = pa.array([0, 7], pa.int8())
    broken = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)
    with pytest.raises(FormatError, match="column 'name'"):
        content_node(pa.table({"name": broken}))


def test_chunks_of_another_type() -> None:
    with pytest.raises(FormatError, match="here: a part of type int16 in a column of type int8"):
        columns.column_digest(pa.int8(), [pa.array([1], pa.int16())], columns.ColumnContext("blake3", "here"))


def test_big_endian_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    with pytest.raises(ConfigurationError, match="little-endian"):
        content_node(pa.array([1]))


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> None:
    for name in ("tables", "columns"):
        monkeypatch.delitem(sys.modules, f"mrv_core.digests.{name}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for content in (pl.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}), pl.Series([1]), pd.Series([1])):
        with pytest.raises(ConfigurationError, match="pyarrow") as caught:
            content_node(content)
        assert caught.value.hint == "pip install pyarrow"


# --- Tables


def digests(node: MerkleNode) -> dict[str, str]:
    assert node.kind == "branch"
    assert {child.kind for child in node.children} <= {"column"}
    return {child.label: str(child.digest) for child in node.children}


TABLE = pa.table(
    {
        "flag": [True, None, False],
        "id": pa.array([1, 2, None], pa.int16()),
        "ratio": [0.5, float("nan"), None],
        "name": ["x", None, "a name longer than twelve bytes"],
        "blob": [b"\x00", b"", None],
        "when": pa.array([dt.datetime(2026, 1, 2), None, dt.datetime(1969, 1, 1)], pa.timestamp("us", "Europe/Berlin")),
        "day": pa.array([dt.date(2026, 1, 2), None, dt.date(1, 1, 1)]),
        "hour": pa.array([dt.time(1, 2, 3), None, dt.time(0)], pa.time64("ns")),
        "span": pa.array([dt.timedelta(1), None, dt.timedelta(-1)], pa.duration("ms")),
        "price": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(10, 2)),
        "kind": pa.array(["a", None, "b"]).dictionary_encode(),
        "scores": [[1.0, None], None, []],
        "pair": pa.array([[1, 2], None, [3, None]], pa.list_(pa.int32(), 2)),
        "place": [{"x": 1, "y": ["p"]}, None, {"x": None, "y": None}],
        "tags": [[["a", None]], None, []],
    }
)


def test_pandas_polars_and_arrow_hold_the_same_content() -> None:
    expected = content_node(TABLE)
    assert list(digests(expected)) == TABLE.column_names
    frame = pl.from_arrow(TABLE)
    others = [
        frame,
        pl.concat([frame.slice(0, 1), frame.slice(1)], rechunk=False),
        TABLE.to_pandas(types_mapper=pd.ArrowDtype),
        TABLE.to_batches()[0],
        pa.concat_tables([TABLE.slice(0, 2), TABLE.slice(2)]),
        TABLE.replace_schema_metadata({"made by": "tests"}),
    ]
    for other in others:
        assert content_node(other) == expected, type(other)


def test_a_column_alone_is_the_leaf_that_it_is_in_a_table() -> None:
    for name, digest in digests(content_node(TABLE)).items():
        column = TABLE.column(name)
        series = pl.from_arrow(TABLE).get_column(name)
        for content in (column, column.chunk(0), series, column.to_pandas(types_mapper=pd.ArrowDtype)):
            assert leaf(content) == digest


PANDAS_COLUMNS: list[tuple[Any, pa.Array]] = [
    (np.array([True, False]), pa.array([True, False])),
    (np.array([1, 2], np.uint8), pa.array([1, 2], pa.uint8())),
    (np.array([0.5, np.nan], np.float32), pa.array([0.5, None], pa.float32())),
    (np.array([0.5, np.nan], np.float16), pa.array([0.5, None], pa.float16())),
    (np.array(["2026-01-02", "NaT"], "M8[ms]"), pa.array([dt.datetime(2026, 1, 2), None], pa.timestamp("ms"))),
    (np.array([5, "NaT"], "m8[s]"), pa.array([5, None], pa.duration("s"))),
    (pd.array([1, None], "Int32"), pa.array([1, None], pa.int32())),
    (pd.array([True, None], "boolean"), pa.array([True, None])),
    (pd.array(["é", None], "string"), pa.array(["é", None])),
    (pd.array(["é", None], pd.StringDtype("python")), pa.array(["é", None])),
    (pd.Categorical(["b", None], ["a", "b"]), pa.array(["b", None])),
    (pd.Categorical([2.5, None]), pa.array([2.5, None])),
    (
        pd.Categorical(["b", None], ["a", "b"], ordered=True),
        pa.DictionaryArray.from_arrays(pa.array([1, None]), pa.array(["a", "b"]), ordered=True),
    ),
    (
        pd.to_datetime(["2026-01-02"]).tz_localize("UTC").as_unit("ns"),
        pa.array([1767312000 * 10**9], pa.timestamp("ns", "UTC")),
    ),
    (pd.array([1, None], pd.ArrowDtype(pa.int8())), pa.array([1, None], pa.int8())),
    (pd.array(["a", None], pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))), pa.array(["a", None])),
    (
        pd.Categorical.from_codes([1, 0], pd.arrays.ArrowExtensionArray(pa.chunked_array([["a"], ["b"]]))),
        pa.array(["b", "a"]),
    ),
    (np.array(["a", None, np.nan, pd.NA], object), pa.array(["a", None, None, None])),
    (np.array([b"a", None], object), pa.array([b"a", None])),
    (np.array([True, None], object), pa.array([True, None])),
    (np.array([1, None, np.nan], object), pa.array([1, None, None])),
    (np.array([1.5, None], object), pa.array([1.5, None])),
    (np.array([Decimal("1.5"), None, Decimal("10.25")], object), pa.array([Decimal("1.5"), None, Decimal("10.25")])),
    (np.array([dt.date(2026, 1, 2), pd.NaT], object), pa.array([dt.date(2026, 1, 2), None])),
    (np.array([None, np.nan], object), pa.nulls(2)),
    (np.array([], object), pa.nulls(0)),
]


@pytest.mark.parametrize(
    ("values", "arrow"), PANDAS_COLUMNS, ids=[str(pd.Series(values).dtype) for values, _ in PANDAS_COLUMNS]
)
def test_pandas_columns_of_every_dtype(values: Any, arrow: pa.Array) -> None:
    assert leaf(pd.Series(values)) == leaf(arrow)
    assert digests(content_node(pd.DataFrame({"a": values}))) == {"a": leaf(arrow)}
    if str(pd.Series(values).dtype) != "float16":  # which no index has
        frame = pd.DataFrame({"a": values}, index=pd.Index(values))
        assert digests(content_node(frame)) == {"a": leaf(arrow), "__index_level_0__": leaf(arrow)}


@pytest.mark.parametrize(
    "values",
    [
        np.arange(1000.0),
        np.array([None] * 600 + ["text"] * 400, object),
        np.array([None] * 600 + [Decimal("0.5"), Decimal("22.25")] * 200, object),
        pd.Categorical(["x", "y"] * 500),
        pd.array(range(1000), pd.ArrowDtype(pa.int32())),
    ],
    ids=["floats", "text", "decimals", "categories", "arrow"],
)
def test_pandas_columns_are_converted_in_blocks(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = leaf(pa.array(pd.Series(values), from_pandas=True))
    for rows, block in ((7, 1 << 20), (1000, 100), (1000, 1)):
        monkeypatch.setattr(tables, "ROWS", rows)
        monkeypatch.setattr(tables, "BLOCK", block)
        assert leaf(pd.Series(values)) == expected


def test_pandas_columns_may_lie_apart_in_memory() -> None:
    matrix = np.arange(12.0).reshape(3, 4)
    frame = pd.DataFrame(matrix, columns=list("abcd"))
    assert digests(content_node(frame)) == {name: leaf(pa.array(matrix[:, at])) for at, name in enumerate("abcd")}


def test_the_default_index_is_not_content() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
    expected = content_node(pa.table({"a": [1.0, 2.0, 3.0]}))
    for same in (frame, frame.loc[[0, 1, 2]], frame[::-1][::-1], frame[frame.a > 0]):
        assert content_node(same) == expected
    assert content_node(frame[frame.a > 9]) == content_node(pa.table({"a": pa.array([], pa.float64())}))


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(1, 4),
        pd.RangeIndex(3, name="row"),
        pd.Index([0, 2, 1]),
        pd.Index([0, 0, 2]),
        pd.Index([0, 7, 2]),
        pd.Index([-1, 0, 2]),
        pd.Index([0, 1, 2], dtype="int32"),
        pd.Index(["x", "y", None]),
        pd.Index([4, 5, 6], name="a"),
        pd.date_range("2026-01-01", periods=3, tz="UTC", name="when"),
        pd.CategoricalIndex(["x", "y", "x"], name="kind"),
        pd.MultiIndex.from_tuples([(1, "x"), (1, "y"), (2, None)], names=["group", None]),
    ],
    ids=str,
)
def test_any_other_index_is_content(index: pd.Index) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=index)
    table = pa.Table.from_pandas(frame, preserve_index=True)
    assert len(table.column_names) == 1 + index.nlevels
    assert content_node(frame) == content_node(table)
    renamed = frame.rename(columns={"a": "values"})
    assert content_node(renamed["values"]) == content_node(renamed)
    for level in range(index.nlevels):
        names = [*index.names[:level], "new", *index.names[level + 1 :]]
        assert content_node(frame.set_index(index.set_names(names))) != content_node(frame)


REFUSED: list[tuple[Any, str]] = [
    (pd.DataFrame({"a": [1, "x"]}), "column 'a': objects of int and str"),
    (pd.DataFrame({"a": [1, 1.0]}, dtype=object), "column 'a': objects of float and int"),
    (pd.DataFrame({"a": [dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3)]}, dtype=object), "column 'a': objects of"),
    (pd.DataFrame({"a": [[1], [2]]}), "column 'a': objects of list"),
    (pd.DataFrame({"a": [{"b": 1}]}), "column 'a': objects of dict"),
    (pd.DataFrame({"a": [2**70]}), "column 'a'"),
    (pd.DataFrame({"a": ["\ud800"]}, dtype=object), "column 'a'"),
    (pd.DataFrame({"a": [1j]}), "column 'a'"),
    (pd.DataFrame({"a": pd.Categorical([1, "x"])}), "column 'a': objects of int and str"),
    (pd.DataFrame({"a": pd.cut([1, 2, 3], 2)}), "column 'a'.*interval"),
    (pd.DataFrame({"a": pd.period_range("2026", periods=2, freq="M")}), "column 'a'.*period"),
    (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "column 'a'.*Sparse"),
    (pd.DataFrame([[1, 2]]), "the name 0 of column 0 is not text"),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns have the name 'a'"),
    (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "2 levels"),
    (pd.DataFrame({"a": [1]}, index=pd.Index([5], name=7)), "names of the index"),
    (pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)], names=["x", "x"])), "names of the index"),
    (pl.DataFrame({"a": [object()]}), "column 'a': Python objects"),
    (pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}), "column 'a'.*Int128"),
    (pl.DataFrame({"a": pl.Series([["x"]], dtype=pl.List(pl.Enum(["x"])))}), "column 'a': an Enum inside"),
    (
        pl.DataFrame({"a": pl.Series([{"e": "x"}], dtype=pl.Struct({"e": pl.Enum(["x"])}))}),
        "column 'a': an Enum inside",
    ),
    (pl.DataFrame({"": [1]}), "the name of column 0 is empty"),
    (pa.table([[1], [2]], names=["a", "a"]), "two columns have the name 'a'"),
    (pa.table([[1]], names=[""]), "the name of column 0 is empty"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused_tables(content: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        content_node(content, label="training", progress=False)
    assert caught.value.message.startswith("training: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_polars_categories() -> None:
    words = ["b", None, "a"]
    plain = leaf(pl.Series(words))
    assert leaf(pl.Series(words, dtype=pl.Categorical)) == plain
    digests = [leaf(pl.Series(words, dtype=pl.Enum(categories))) for categories in ("ab", "ba", "abc")]
    assert len({plain, *digests}) == 4
    assert digests[0] == leaf(pd.Series(pd.Categorical(words, ["a", "b"], ordered=True)))


flat_tables = st.dictionaries(
    names.filter(bool), flat_kinds.filter(lambda kind: kind != "null"), min_size=1, max_size=4
)


@given(st.data())
def test_a_changed_cell_changes_the_leaf_of_its_column_and_no_other(data: st.DataObject) -> None:
    fields = data.draw(flat_tables, "fields")
    rows = data.draw(st.integers(1, 5), "rows")
    slots = {name: data.draw(st.lists(slots_of(kind), min_size=rows, max_size=rows)) for name, kind in fields.items()}
    name = data.draw(st.sampled_from(sorted(fields)), "changed")
    row = data.draw(st.integers(0, rows - 1), "row")
    new = data.draw(slots_of(fields[name]).filter(lambda slot: slot != slots[name][row]), "cell")
    changed = {**slots, name: [*slots[name][:row], new, *slots[name][row + 1 :]]}

    def node(cells: dict[str, list[Any]]) -> MerkleNode:
        return content_node(pa.table({key: data.draw(forms(fields[key]))(cells[key]) for key in fields}))

    before, after = digests(node(slots)), digests(node(changed))
    assert list(before) == list(after) == list(fields)
    assert [key for key in before if before[key] != after[key]] == [name]


def test_names_and_order_of_columns_are_content() -> None:
    table = pa.table({"a": [1, 2], "b": [1, 2]})
    others = [
        table.select(["b", "a"]),
        table.rename_columns(["a", "c"]),
        table.select(["a"]),
        table.slice(1),
        pa.table({}),
    ]
    assert len({content_node(other).hash for other in [table, *others]}) == 6


def test_a_table_inside_a_structure() -> None:
    table = pa.table({"x": [1.0], "y": ["a"]})
    node = content_node({"train": table, "rows": 1})
    assert node.child("train") == content_node(table, label="train")


def test_progress_is_told_of_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(type(columns.SILENT), "advance", lambda self, amount: seen.append(amount))
    content_node(pa.table({"a": np.arange(1000), "b": np.arange(1000.0)}))
    assert sum(seen) >= 16000
