# SPDX-License-Identifier: MIT
"""Arrow columns: type, nulls and values, whatever chunks, offsets and encodings hold them (docs/spec/digests.md).

A column is hashed in levels, one for each type nested in it. A level has a hash of the positions of its nulls, and
hashes of the values that are not null. So whatever lies under a null is never hashed, and most values are hashed
where they lie; nulls, views and dictionaries are copied a block at a time.
"""

from __future__ import annotations

import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mrv_core.canonical import JsonValue, canonical_bytes
from mrv_core.digests.arrays import BLOCK
from mrv_core.digests.hasher import Buffer, ContentHasher, u64
from mrv_core.errors import ConfigurationError, FormatError, UnsupportedTypeError
from mrv_core.hashing import Digest, length_prefixed
from mrv_core.progress import SILENT, Task

ROWS: Final = 1024 * 1024
"""Slots handled at a time where something has to be written down about each."""

_NAMED: Final = {
    getattr(pa, name)(): name
    for name in (
        "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 "
        "date32 date64 month_day_nano_interval".split()
    )
} | {pa.bool_(): "bool"}
"""Types of a fixed width that have no parameters."""

_ARROW_ERRORS: Final = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowIndexError, pa.ArrowNotImplementedError)


@dataclass(frozen=True, slots=True)
class ColumnContext:
    """What all levels of a column share.

    Attributes:
        algorithm: Hash algorithm.
        where: Path of the column, for error messages.
        size: Bytes of the column, roughly.
        task: Is told how many bytes are done.
    """

    algorithm: str
    where: str
    size: int = 0
    task: Task = SILENT

    def hasher(self) -> ContentHasher:
        """Return a new hasher for one part of the column."""
        return ContentHasher(self.algorithm, self.size, self.task)

    def unsupported(self, kind: Any, hint: str) -> UnsupportedTypeError:
        """Build the error for a type that has no level."""
        return UnsupportedTypeError(f"{self.where}: columns of type {kind} are not supported", hint=hint)


def column_digest(kind: Any, chunks: Iterable[Any], context: ColumnContext) -> Digest:
    """Return the content digest of a column.

    Args:
        kind: Arrow type of the column.
        chunks: Arrow arrays of this type.
        context: Algorithm and place.

    Raises:
        UnsupportedTypeError: the type is, or contains, an extension type, a union, or a run-end encoded type.
        FormatError: chunks that are malformed, or whose types or ordered categories differ.
        ConfigurationError: this machine does not keep numbers in little-endian order.
    """
    if sys.byteorder != "little":
        raise ConfigurationError(f"{context.where}: columns can be hashed on little-endian machines only")
    level = _level(kind, context)
    try:
        for chunk in chunks:
            if chunk.type != kind:
                raise FormatError(f"{context.where}: a part of type {chunk.type} in a column of type {kind}")
            chunk.validate()
            level.update(chunk)
    except _ARROW_ERRORS as error:
        hint = "check the data with validate(full=True), or cast the column to another type"
        raise FormatError(f"{context.where}: Arrow cannot read the values: {error}", hint=hint) from error
    hasher = ContentHasher(context.algorithm, 0)
    hasher.update(length_prefixed(canonical_bytes(level.description)) + level.record())
    return hasher.digest()


class _Level(ABC):
    """The slots of one type: how many there are, which of them are null, and the values of the others."""

    description: JsonValue

    def __init__(self, description: JsonValue, context: ColumnContext) -> None:
        self.description = description
        self._slots = 0
        self._nulls = context.hasher()

    def update(self, array: Any) -> None:
        """Take the next slots."""
        if array.null_count:
            start = self._slots
            for piece in _pieces(array, len):
                self._nulls.update(_null_positions(piece, start))
                start += len(piece)
        self._slots += len(array)
        self._update_values(array)

    def record(self) -> bytes:
        """Return the number of slots, and the hashes of this level and of those inside it."""
        return u64(self._slots) + self._nulls.digest().value + self._record_values()

    @abstractmethod
    def _update_values(self, array: Any) -> None:
        """Take what is in the next slots."""

    @abstractmethod
    def _record_values(self) -> bytes:
        """Return the hashes of what was in the slots."""


class _Null:
    """Nothing but nulls: their number says it all."""

    description: JsonValue = "null"

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        self._slots = 0

    def update(self, array: Any) -> None:
        self._slots += len(array)

    def record(self) -> bytes:
        return u64(self._slots)


class _Fixed(_Level):
    """Values of a fixed width, as they lie in memory."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        super().__init__(_describe_fixed(kind, context), context)
        self._width: int = (kind.bit_width + 7) // 8
        self._values = context.hasher()

    def _update_values(self, array: Any) -> None:
        for piece in _pieces(array, self._size) if array.null_count else [array]:
            self._values.update(_fixed_bytes(piece.drop_null(), self._width))

    def _size(self, array: Any) -> int:
        return len(array) * self._width

    def _record_values(self) -> bytes:
        return self._values.digest().value


class _Bool(_Fixed):
    """Truth values, a byte each: bits would have to be shifted wherever a chunk does not end on a byte."""

    def _update_values(self, array: Any) -> None:
        for piece in _pieces(array, len):
            super()._update_values(piece.cast(pa.uint8()))


class _Binary(_Level):
    """Text or bytes: the lengths, and the bytes of all values one after another."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        super().__init__("string" if _is_string(kind) else "binary", context)
        self._lengths = context.hasher()
        self._values = context.hasher()

    def _update_values(self, array: Any) -> None:
        for piece in _pieces(array, _payload_size):
            values = _without_views(piece).drop_null()
            self._lengths.update(_fixed_bytes(pc.binary_length(values).cast(pa.int64()), 8))
            self._values.update(_payload(values))

    def _record_values(self) -> bytes:
        return self._lengths.digest().value + self._values.digest().value


class _List(_Level):
    """Lists: the lengths, and a level with the items of all lists that are not null."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        self._items = _level(kind.value_type, context)
        super().__init__(["list", self._items.description], context)
        self._lengths = context.hasher()

    def _update_values(self, array: Any) -> None:
        for piece in _pieces(array, _items_size):
            lengths = pc.list_value_length(piece).drop_null().cast(pa.int64())
            self._lengths.update(_fixed_bytes(lengths, 8))
            if count := pc.sum(lengths).as_py():
                self._items.update(_items(piece, count))

    def _record_values(self) -> bytes:
        return self._lengths.digest().value + self._items.record()


class _Map(_List):
    """Maps: lists of entries, in the order in which they are stored."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        super().__init__(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])), context)
        self.description = ["map", *(_level(part, context).description for part in (kind.key_type, kind.item_type))]

    def _update_values(self, array: Any) -> None:
        # The same buffers read as lists: Arrow's own cast ends the process for some entries that are slices.
        entries = array.values
        buffers = array.buffers()[:2]
        lists = pa.Array.from_buffers(
            pa.list_(entries.type), len(array), buffers, offset=array.offset, children=[entries]
        )
        super()._update_values(lists)


class _FixedList(_Level):
    """Lists of one length: a level with the items of all lists that are not null."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        self._items = _level(kind.value_type, context)
        super().__init__(["fixed_size_list", self._items.description, kind.list_size], context)

    def _update_values(self, array: Any) -> None:
        for piece in _pieces(array, _items_size):
            if len(piece) > piece.null_count:
                self._items.update(piece.flatten())

    def _record_values(self) -> bytes:
        return self._items.record()


class _Struct(_Level):
    """Structs: a level for each field, null where the struct is null."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        fields = [kind.field(index) for index in range(kind.num_fields)]
        self._fields = [_level(field.type, context) for field in fields]
        described = [[field.name, level.description] for field, level in zip(fields, self._fields, strict=True)]
        super().__init__(["struct", *described], context)

    def _update_values(self, array: Any) -> None:
        for level, field in zip(self._fields, array.flatten(), strict=True):
            level.update(field)

    def _record_values(self) -> bytes:
        return b"".join(level.record() for level in self._fields)


class _Dictionary:
    """Values encoded by a dictionary, decoded: what stands in the dictionary is a matter of storage."""

    description: JsonValue

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        self._values = _level(kind.value_type, context)
        self.description = self._values.description

    def update(self, array: Any) -> None:
        for values in _decoded(array):
            self._values.update(values)

    def record(self) -> bytes:
        return self._values.record()


class _Ordered(_Dictionary):
    """Values of an ordered dictionary: its order means something, so a level with all of it comes first."""

    def __init__(self, kind: Any, context: ColumnContext) -> None:
        super().__init__(kind, context)
        self.description = ["ordered", self._values.description]
        self._order = _level(kind.value_type, context)
        self._categories: Any = None
        self._context = context

    def update(self, array: Any) -> None:
        if not len(array):
            return
        if self._categories is None:
            self._categories = array.dictionary
            self._order.update(self._categories)
        elif not self._categories.equals(array.dictionary):
            raise FormatError(
                f"{self._context.where}: the ordered categories differ from chunk to chunk",
                hint="cast the column to the type of its values, or give all chunks the same dictionary",
            )
        super().update(array)

    def record(self) -> bytes:
        return self._order.record() + super().record()


_AnyLevel: TypeAlias = "_Level | _Null | _Dictionary"

_is = pa.types
_LEVELS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, ColumnContext], _AnyLevel]], ...]] = (
    (_is.is_null, _Null),
    (_is.is_boolean, _Bool),
    (lambda kind: _is_string(kind) or _is_bytes(kind), _Binary),
    (lambda kind: _is.is_list(kind) or _is.is_large_list(kind), _List),
    (lambda kind: _is.is_list_view(kind) or _is.is_large_list_view(kind), _List),
    (_is.is_map, _Map),
    (_is.is_fixed_size_list, _FixedList),
    (_is.is_struct, _Struct),
    (lambda kind: _is.is_dictionary(kind) and kind.ordered, _Ordered),
    (_is.is_dictionary, _Dictionary),
    (lambda kind: True, _Fixed),
)


def _level(kind: Any, context: ColumnContext) -> _AnyLevel:
    if isinstance(kind, pa.BaseExtensionType):
        raise context.unsupported(kind, f"cast it to the type that it is stored as, {kind.storage_type}")
    return next(level for matches, level in _LEVELS if matches(kind))(kind, context)


def _describe_fixed(kind: Any, context: ColumnContext) -> JsonValue:
    if kind in _NAMED:
        return _NAMED[kind]
    if _is.is_timestamp(kind):
        return ["timestamp", kind.unit, kind.tz]
    if _is.is_time(kind) or _is.is_duration(kind):
        return ["duration" if _is.is_duration(kind) else "time", kind.unit]
    if _is.is_decimal(kind):
        return ["decimal", kind.bit_width, kind.precision, kind.scale]
    if _is.is_fixed_size_binary(kind):
        return ["fixed_size_binary", kind.byte_width]
    raise context.unsupported(kind, "cast it, or decode a run-end encoded column with pyarrow.compute.run_end_decode")


def _is_string(kind: Any) -> bool:
    return bool(_is.is_string(kind) or _is.is_large_string(kind) or _is.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    return bool(_is.is_binary(kind) or _is.is_large_binary(kind) or _is.is_binary_view(kind))


def _is_view(kind: Any) -> bool:
    return bool(_is.is_string_view(kind) or _is.is_binary_view(kind))


def _pieces(array: Any, size: Callable[[Any], int]) -> Iterator[Any]:
    """Halve an array until a piece has at most `ROWS` slots and `BLOCK` bytes, or is one slot."""
    if len(array) <= ROWS and (len(array) <= 1 or size(array) <= BLOCK):
        yield array
        return
    half = len(array) // 2
    yield from _pieces(array.slice(0, half), size)
    yield from _pieces(array.slice(half), size)


def _null_positions(array: Any, start: int) -> Buffer:
    """Return the positions of the nulls, the first slot being number `start`."""
    positions = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).astype("<u8")
    return (positions + np.uint64(start)).view(np.uint8).data


def _fixed_bytes(array: Any, width: int) -> Buffer:
    """Return the bytes of values of a fixed width; there must be no nulls."""
    start = array.offset * width
    return memoryview(array.buffers()[1] or b"")[start : start + len(array) * width]


def _without_views(array: Any) -> Any:
    """Return text or bytes in the layout that has offsets; Arrow can do little with the other one."""
    if not _is_view(array.type):
        return array
    return array.cast(pa.large_string() if _is_string(array.type) else pa.large_binary())


def _payload(array: Any) -> Buffer:
    """Return the bytes of an array of text or bytes that has offsets; there must be no nulls."""
    if not len(array):
        return b""
    _, offsets, payload = array.buffers()
    form, width = ("<q", 8) if array.type in (pa.large_string(), pa.large_binary()) else ("<i", 4)
    ends = (array.offset, array.offset + len(array))
    start, stop = (struct.unpack_from(form, offsets, width * at)[0] for at in ends)
    return memoryview(payload or b"")[start:stop]


def _payload_size(array: Any) -> int:
    """Return about how many bytes the text or bytes of an array take."""
    if not _is_view(array.type):
        return int(array.nbytes)
    # A view starts with its length; under a null it may be anything.
    views = np.frombuffer(array.buffers()[1], dtype=[("length", "<i4"), ("rest", "V12")])
    lengths = views["length"][array.offset : array.offset + len(array)]
    return int(np.maximum(lengths, 0).sum(dtype=np.int64))


def _items_size(array: Any) -> int:
    """Return about how many bytes the items of lists take."""
    return 16 * (pc.sum(pc.list_value_length(array)).as_py() or 0)


def _items(lists: Any, count: int) -> Any:
    """Return the `count` items of the lists that are not null, where they lie if nothing else is between them."""
    if lists.null_count and not (_is.is_list_view(lists.type) or _is.is_large_list_view(lists.type)):
        first, last = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
        if last - first == count:
            return lists.values.slice(first, count)
    return lists.flatten()


def _decoded(array: Any) -> Iterator[Any]:
    """Yield the values of dictionary-encoded slots."""
    values = _without_views(array.dictionary)
    if _is_string(values.type) or _is_bytes(values.type):
        lengths = pc.binary_length(values)
        pieces = _pieces(array, lambda piece: pc.sum(lengths.take(piece.indices)).as_py() or 0)
    else:
        width = values.nbytes // max(1, len(values))
        pieces = _pieces(array, lambda piece: len(piece) * width)
    for piece in pieces:
        yield values.take(piece.indices)
