# SPDX-License-Identifier: MIT
"""NumPy arrays and scalars: dtype, shape, and the elements in little-endian C order, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np

from mrv_core.canonical import JsonValue, canonical_bytes
from mrv_core.digests.context import DigestContext, qualified_name, unsupported
from mrv_core.digests.hasher import ContentHasher, array_header
from mrv_core.errors import FormatError
from mrv_core.provenance_tree import MerkleNode

Array: TypeAlias = "np.ndarray[Any, Any]"

BLOCK: Final = 16 * 1024 * 1024
"""Bytes copied at a time where elements do not lie in order; the only memory that hashing an array takes."""

_FIXED_WIDTH: Final[dict[type, tuple[str, int]]] = {np.bytes_: ("bytes", 1), np.str_: ("str", 4), np.void: ("void", 1)}
_EXTENSION_DTYPES: Final = frozenset(
    "bfloat16 float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz "
    "float8_e5m2 float8_e5m2fnuz float8_e8m0fnu".split()
)
"""Names of the `ml_dtypes` package, which torch and safetensors share."""


def array_node(array: Array, context: DigestContext) -> MerkleNode:
    """Return the leaf of an array.

    Raises:
        UnsupportedTypeError: a masked array, or a subclass that may carry more than its elements.
        FormatError: object arrays and other dtypes without bytes of their own.
    """
    cls = type(array)
    if isinstance(array, np.ma.MaskedArray):
        raise unsupported(cls, context.where, 'pass {"data": array.data, "mask": array.mask} to commit to both')
    if cls.__module__.partition(".")[0] != "numpy":
        raise unsupported(cls, context.where, "pass numpy.asarray(array) to commit to its elements alone")
    dtype = dtype_name(array.dtype, context.where)
    return elements_node(dtype, array.shape, [np.asarray(array)], context)


def scalar_node(scalar: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of a NumPy scalar: a 0-dimensional array."""
    return array_node(np.asarray(scalar), context)


def elements_node(
    dtype: str, shape: tuple[int, ...], parts: Iterator[Array] | list[Array], context: DigestContext
) -> MerkleNode:
    """Return the leaf of an array given in parts.

    Args:
        dtype: Name that stands in the header.
        shape: Shape of the whole.
        parts: Arrays that hold the elements of the whole in C order, one after another.
        context: Where the leaf goes.
    """
    header = array_header(dtype, shape)
    size = sum(part.nbytes for part in parts) if isinstance(parts, list) else BLOCK
    with context.progress.task(f"hashing {context.where}", total=size) as task:
        hasher = ContentHasher(context.algorithm, size, task)
        hasher.update(header)
        for part in parts:
            _feed(hasher, part)
        return context.leaf("array", hasher.digest())


def dtype_name(dtype: np.dtype[Any], where: str) -> str:
    """Return the name of a dtype in array headers; a structured one is named by the JSON list of its fields.

    Raises:
        FormatError: the dtype has no bytes that mean the same everywhere.
    """
    description = _describe(dtype, where)
    return description if isinstance(description, str) else canonical_bytes(description).decode()


def _describe(dtype: np.dtype[Any], where: str) -> JsonValue:
    if dtype.names is not None:
        return [_describe_field(name, dtype[name], f"{where}[{name!r}]") for name in dtype.names]
    if _is_extension(dtype) or _is_plain_number(dtype):
        return dtype.name
    if dtype.kind in "mM":
        unit, count = np.datetime_data(dtype)
        name = "datetime64" if dtype.kind == "M" else "timedelta64"
        return name if unit == "generic" else f"{name}[{count if count != 1 else ''}{unit}]"
    if dtype.type in _FIXED_WIDTH:
        name, width = _FIXED_WIDTH[dtype.type]
        return f"{name}[{dtype.itemsize // width}]"
    raise _unsupported_dtype(dtype, where)


def _describe_field(name: str, dtype: np.dtype[Any], where: str) -> JsonValue:
    if dtype.subdtype is None:
        return [name, _describe(dtype, where)]
    base, shape = dtype.subdtype
    return [name, _describe(base, where), list(shape)]


def _is_plain_number(dtype: np.dtype[Any]) -> bool:
    # Extended precision ("g", "G") has another size and other padding on every platform.
    return dtype.type.__module__ == "numpy" and dtype.kind in "biufc" and dtype.char not in "gG"


def _is_extension(dtype: np.dtype[Any]) -> bool:
    return dtype.type.__module__ == "ml_dtypes" and dtype.name in _EXTENSION_DTYPES


def _unsupported_dtype(dtype: np.dtype[Any], where: str) -> FormatError:
    if dtype.kind == "O":
        return FormatError(
            f"{where}: an object array holds references to Python objects, not values",
            hint="convert it to numbers, to text with astype('U'), or to a table",
        )
    if dtype.kind == "T":
        return FormatError(f"{where}: strings of varying width", hint="convert them with astype('U'), or to a table")
    return FormatError(
        f"{where}: dtype {dtype.name} ({qualified_name(dtype.type)}) has no bytes that are the same on every platform",
        hint="convert it with astype, for instance to float64",
    )


def _feed(hasher: ContentHasher, array: Array) -> None:
    """Feed the elements in little-endian C order, in place where they lie so, else through one block."""
    target = _packed(array.dtype)
    if not array.nbytes:
        return
    if array.flags.c_contiguous and array.dtype == target:
        hasher.update(_bytes_of(array))
        return
    # Structured elements are copied field by field, which leaves padding out; no value is ever converted.
    blocks = np.nditer(  # type: ignore[call-overload]  # "contig" is missing in NumPy's stub
        [array],
        ["external_loop", "buffered"],
        [["readonly", "contig"]],
        order="C",
        op_dtypes=[target],
        casting="unsafe" if target.names else "equiv",
        buffersize=max(1, BLOCK // target.itemsize),
    )
    for block in blocks:
        hasher.update(_bytes_of(block))


def _packed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the little-endian dtype without padding between fields."""
    if dtype.names is not None:
        return np.dtype([(name, _packed(dtype[name])) for name in dtype.names])
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_packed(base), shape))
    return dtype if _is_extension(dtype) else dtype.newbyteorder("<")


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
