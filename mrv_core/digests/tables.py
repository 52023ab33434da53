# SPDX-License-Identifier: MIT
"""Tables: a branch with one leaf a column, the same whether pandas, polars or Arrow holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa

from mrv_core.digests.arrays import BLOCK
from mrv_core.digests.columns import ROWS, ColumnContext, column_digest
from mrv_core.digests.context import DigestContext, qualified_name
from mrv_core.errors import FormatError, MrvError
from mrv_core.progress import Task
from mrv_core.provenance_tree import MerkleNode

FIRST_ROWS: Final = 16
"""Rows of a pandas column that are converted first; how many come next depends on how large these are."""
SERIES_LABEL: Final = "values"
"""Label of the values of a pandas series that has an index of its own."""

_Rows: TypeAlias = Callable[[slice], Any]
"""Returns some rows of a pandas column, or of a level of an index, as a series."""

_OBJECT_TYPES: Final = {
    bool: pa.bool_(),
    bytes: pa.binary(),
    date: pa.date32(),
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
}
"""Classes that a pandas column of objects may consist of, besides decimals, whose type depends on their values."""


class _Column(NamedTuple):
    label: str
    kind: Any
    chunks: Iterable[Any]
    size: int


def table_node(table: Any, context: DigestContext) -> MerkleNode:
    """Return the branch of an Arrow table. Metadata of the schema is not content.

    Raises:
        FormatError: a column without a name, two with one name, or one that cannot be read.
        UnsupportedTypeError: a column of an extension type, a union or a run-end encoded type.
    """
    names = _checked_names(table.schema.names, context)
    columns = (_arrow_column(label, table.column(at)) for at, label in enumerate(names))
    return _branch(columns, _size(table), context)


def batch_node(batch: Any, context: DigestContext) -> MerkleNode:
    """Return the branch of an Arrow record batch: that of a table with the same columns."""
    return table_node(pa.Table.from_batches([batch]), context)


def column_node(column: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of an Arrow chunked array."""
    return _single(_arrow_column(context.label, column), context)


def array_node(array: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of an Arrow array: that of a column with the same slots."""
    return _single(_Column(context.label, array.type, [array], _size(array)), context)


def polars_frame_node(frame: Any, context: DigestContext) -> MerkleNode:
    """Return the branch of a polars data frame.

    Raises:
        FormatError: as for `table_node`; Python objects; an Enum inside a list or struct.
        UnsupportedTypeError: as for `table_node`.
    """
    names = _checked_names(frame.columns, context)
    columns = (_polars_column(label, frame.get_column(label), _place(context, label)) for label in names)
    return _branch(columns, int(frame.estimated_size()), context)


def polars_series_node(series: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of a polars series. Its name is not content."""
    return _single(_polars_column(context.label, series, context.where), context)


def pandas_frame_node(frame: Any, context: DigestContext) -> MerkleNode:
    """Return the branch of a pandas data frame: its columns, then the levels of its index.

    An index that only counts the rows from 0 is not content. A missing value is a null, whatever it is kept as.

    Raises:
        FormatError: as for `table_node`; names that are not text; objects that are not all of one class.
        UnsupportedTypeError: as for `table_node`.
    """
    if frame.columns.nlevels > 1:
        raise FormatError(
            f"{context.where}: the names of the columns have {frame.columns.nlevels} levels",
            hint="join them: frame.columns = ['/'.join(map(str, name)) for name in frame.columns]",
        )
    names = _checked_names(frame.columns, context)
    columns = (_series_column(label, frame.iloc[:, at], _place(context, label)) for at, label in enumerate(names))
    total = int(frame.memory_usage().sum())
    return _branch(chain(columns, _index_columns(frame.index, names, context)), total, context)


def pandas_series_node(series: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of a pandas series, or a branch of its values and its index. Its name is not content."""
    index = list(_index_columns(series.index, [SERIES_LABEL], context))
    if not index:
        return _single(_series_column(context.label, series, context.where), context)
    values = _series_column(SERIES_LABEL, series, _place(context, SERIES_LABEL))
    return _branch([values, *index], int(series.memory_usage()), context)


def _checked_names(names: Iterable[Any], context: DigestContext) -> list[str]:
    seen: dict[str, None] = {}
    for at, name in enumerate(names):
        if not isinstance(name, str):
            hint = "name the columns, for instance frame.columns = frame.columns.astype(str), or pass frame.to_numpy()"
            raise FormatError(f"{context.where}: the name {name!r} of column {at} is not text", hint=hint)
        if not name:
            raise FormatError(f"{context.where}: the name of column {at} is empty", hint="give it a name")
        if name in seen:
            raise FormatError(f"{context.where}: two columns have the name {name!r}", hint="rename one of them")
        seen[name] = None
    return list(seen)


def _branch(columns: Iterable[_Column], total: int, context: DigestContext) -> MerkleNode:
    with context.progress.task(f"hashing {context.where}", total=total) as task:
        leaves = [_leaf(column, context.algorithm, _place(context, column.label), task) for column in columns]
    return MerkleNode.branch(context.label, leaves)


def _single(column: _Column, context: DigestContext) -> MerkleNode:
    with context.progress.task(f"hashing {context.where}", total=column.size) as task:
        return _leaf(column, context.algorithm, context.where, task)


def _leaf(column: _Column, algorithm: str, where: str, task: Task) -> MerkleNode:
    digest = column_digest(column.kind, column.chunks, ColumnContext(algorithm, where, column.size, task))
    return MerkleNode.leaf(column.label, "column", digest)


def _place(context: DigestContext, label: str) -> str:
    return f"{context.where}: column {label!r}"


def _arrow_column(label: str, column: Any) -> _Column:
    return _Column(label, column.type, column.chunks, _size(column))


def _size(content: Any) -> int:
    """Return about how many bytes Arrow content takes."""
    try:
        return int(content.nbytes)
    except pa.ArrowException:  # malformed, which is found out later, or views, which older versions cannot measure
        return int(content.get_total_buffer_size())


@contextmanager
def _converting(where: str, dtype: Any) -> Iterator[None]:
    """Whatever another library raises while it converts to Arrow is one clear line here."""
    try:
        yield
    except MrvError:
        raise
    except Exception as error:
        message = f"{where}: values of type {dtype} cannot be converted to Arrow: {type(error).__name__}: {error}"
        raise FormatError(message, hint="convert the column to a type that Arrow has") from error


# --- polars ---


def _polars_column(label: str, series: Any, where: str) -> _Column:
    import polars

    if series.dtype == polars.Object:
        raise FormatError(f"{where}: Python objects", hint="convert them to a type that polars knows")
    if _has_enum_inside(series.dtype):
        raise FormatError(f"{where}: an Enum inside a list or struct", hint="cast it to String")
    with _converting(where, series.dtype):
        # Anything but the newest level copies all text.
        chunks = [chunk.to_arrow(compat_level=polars.CompatLevel.newest()) for chunk in series.get_chunks()]
        if series.dtype == polars.Enum:
            # Older versions of polars do not say that the order of an Enum means something.
            chunks = [pa.DictionaryArray.from_arrays(part.indices, part.dictionary, ordered=True) for part in chunks]
    return _Column(label, chunks[0].type, chunks, int(series.estimated_size()))


def _has_enum_inside(dtype: Any) -> bool:
    import polars

    if isinstance(dtype, polars.Struct):
        inside = [field.dtype for field in dtype.fields]
    else:
        inside = [dtype.inner] if isinstance(dtype, polars.List | polars.Array) else []
    return any(part == polars.Enum or _has_enum_inside(part) for part in inside)


# --- pandas ---


def _index_columns(index: Any, names: Sequence[str], context: DigestContext) -> Iterator[_Column]:
    """Yield the levels of an index, labelled as Arrow labels them; none if it only counts the rows from 0."""
    if _counts_rows(index):
        return
    labels = [
        f"__index_level_{level}__" if name is None or name in names else name for level, name in enumerate(index.names)
    ]
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) < len(labels):
        raise FormatError(
            f"{context.where}: the names of the index, {labels}, are not different texts",
            hint="name its levels: frame.index.names = [...]",
        )
    for level, label in enumerate(labels):
        yield _pandas_column(label, _rows_of_level(index, level), index.nbytes, _place(context, label))


def _counts_rows(index: Any) -> bool:
    if index.nlevels > 1 or index.name is not None or index.dtype != "int64":
        return False
    # Nothing else rises from 0 to there; making the numbers to compare with would take their memory.
    ends = len(index) == 0 or (index[0] == 0 and index[-1] == len(index) - 1)
    return bool(ends and index.is_monotonic_increasing and index.is_unique)


def _rows_of_level(index: Any, level: int) -> _Rows:
    import pandas

    return lambda rows: pandas.Series(index[rows].get_level_values(level))


def _series_column(label: str, series: Any, where: str) -> _Column:
    return _pandas_column(label, lambda rows: series.iloc[rows], series.nbytes, where)


def _pandas_column(label: str, rows: _Rows, size: int, where: str) -> _Column:
    dtype = rows(slice(0, 0)).dtype
    with _converting(where, dtype):
        kind, convert = _converter(dtype, rows, where)
    return _Column(label, kind, _converted(dtype, rows, convert, where), size)


def _converter(dtype: Any, rows: _Rows, where: str) -> tuple[Any, Callable[[Any], Any]]:
    """Return the Arrow type of a column, and a function that converts some of its rows."""
    import pandas

    if isinstance(dtype, pandas.CategoricalDtype):
        return _category_converter(dtype, where)
    is_object = pandas.api.types.is_object_dtype(dtype)
    kind = _object_type(rows, where) if is_object else pa.array(rows(slice(0, 0)), from_pandas=True).type
    return kind, lambda series: pa.array(series, type=kind, from_pandas=True)


def _category_converter(dtype: Any, where: str) -> tuple[Any, Callable[[Any], Any]]:
    """Return type and function of a categorical column; the categories are converted once, not with every block."""
    import pandas

    categories = pandas.Series(dtype.categories)
    kind, convert = _converter(categories.dtype, lambda rows: categories.iloc[rows], where)
    dictionary = convert(categories)
    if isinstance(dictionary, pa.ChunkedArray):
        dictionary = dictionary.combine_chunks()

    def from_codes(series: Any) -> Any:
        codes = series.cat.codes.to_numpy()
        indices = pa.array(codes, type=pa.int32(), mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, dictionary, ordered=dtype.ordered)

    return pa.dictionary(pa.int32(), kind, ordered=dtype.ordered), from_codes


def _object_type(rows: _Rows, where: str) -> Any:
    """Return the Arrow type of a column of Python objects.

    Arrow's own inference would take 1 and 1.0, or a date and a time of that day, for the same value.
    """
    classes: set[type] = set()
    start = 0
    while len(part := rows(slice(start, start + ROWS))):
        classes.update(map(type, part.to_numpy()[part.notna().to_numpy()]))
        start += ROWS
    if not classes:
        return pa.null()
    if classes == {Decimal}:
        return pa.infer_type(rows(slice(None)).to_numpy(), from_pandas=True)
    if len(classes) == 1 and classes <= _OBJECT_TYPES.keys():
        return _OBJECT_TYPES[classes.pop()]
    names = " and ".join(sorted(qualified_name(cls).removeprefix("builtins.") for cls in classes))
    raise FormatError(
        f"{where}: objects of {names}",
        hint="convert them to one type, for instance with astype(str) or astype(pandas.ArrowDtype(...))",
    )


def _converted(dtype: Any, rows: _Rows, convert: Callable[[Any], Any], where: str) -> Iterator[Any]:
    """Yield a column as Arrow arrays, as many rows at a time as a few megabytes hold."""
    start, count = 0, FIRST_ROWS
    while len(part := rows(slice(start, start + count))):
        with _converting(where, dtype):
            array = convert(part)
        yield from array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        start += count
        # All of a dictionary counts, however few the rows. Arrow takes several times the memory of what it builds.
        taken = 1 if pa.types.is_dictionary(array.type) else max(1, array.nbytes)
        count = max(1, min(ROWS, 2 * count, count * BLOCK // (4 * taken)))
