# SPDX-License-Identifier: MIT
"""Strict JSON in, RFC 8785 canonical JSON out (docs/spec/json.md).

Parsing refuses what two readers could understand differently: duplicate keys, NaN and infinity, lone
surrogates, integers beyond 2^53-1, invalid UTF-8, a byte order mark. Size and depth are checked *before*
the parser runs, because deep nesting can end the interpreter where another library has raised the
recursion limit.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, TypeAlias

import rfc8785

from mrv_core.errors import FormatError
from mrv_core.hashing import Digest, HashFactory

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest document parsed by default: a run of 100,000 tensors fits, a memory bomb does not."""
MAX_DEPTH: Final = 64
"""Deepest nesting accepted; far below any interpreter's recursion limit."""
MAX_SAFE_INTEGER: Final = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8785, section 3.2.2.3; I-JSON, RFC 7493)."""

_NESTING_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[{]}"'))
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, *, what: str, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Parse JSON strictly.

    Args:
        data: UTF-8 bytes.
        what: Name of the document for error messages, for instance its path.
        max_bytes: Refuse longer input before looking at it.
        max_depth: Refuse deeper nesting of arrays and objects before parsing.

    Raises:
        FormatError: anything listed in the module's description; the message names the place.
    """
    if len(data) > max_bytes:
        raise FormatError(f"{what}: {len(data)} bytes is more than the {max_bytes} allowed")
    if _nesting(data) > max_depth:
        raise FormatError(f"{what}: nested deeper than {max_depth} levels")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what}: not UTF-8 at byte {error.start}") from error
    if text.startswith("\ufeff"):
        raise FormatError(f"{what}: starts with a byte order mark")
    hooks = _Hooks()
    try:
        value = json.loads(
            text,
            object_pairs_hook=hooks.read_object,
            parse_constant=hooks.read_constant,
            parse_int=hooks.read_integer,
            parse_float=hooks.read_double,
        )
    except json.JSONDecodeError as error:
        raise FormatError(f"{what}: not JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    if hooks.refused or _SURROGATE_ESCAPE.search(text):
        reason = next(_refusals(value, ""), None)
        if reason is not None:
            raise FormatError(f"{what}: {reason}")
    return value


def _nesting(data: bytes) -> int:
    """Return how deep the brackets outside strings are nested, in a few passes of C code.

    Exact as far as `data` is JSON, and the parser goes no further. Without its escapes a string holds no quote,
    so what stands between an even and an odd quote is outside strings; taking away a pair of quotes changes no parity.
    """
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = unescaped.translate(_NESTING_STEPS, delete=_NO_STRUCTURE).replace(b'""', b"")
    outside_strings = b"".join(marks.split(b'"')[::2])
    return max(accumulate(array("b", outside_strings)), default=0)


class _Refused:
    """Stands in a parsed document for what must not be there, until a walk through the document finds its path."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Hooks:
    """What `json.loads` calls; remembers whether anything was refused, so that only then its path is looked for."""

    def __init__(self) -> None:
        self.refused = False

    def _refuse(self, reason: str) -> _Refused:
        self.refused = True
        return _Refused(reason)

    def read_object(self, pairs: list[tuple[str, Any]]) -> Any:
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return self._refuse(f"key {twice[:80]!r} appears twice in one object")

    def read_constant(self, text: str) -> Any:
        return self._refuse(f"{text} is not JSON")

    def read_integer(self, text: str) -> Any:
        # Longest safe text is "-9007199254740991"; the length test keeps int() away from its own digit limit.
        if len(text) <= 17 and abs(int(text)) <= MAX_SAFE_INTEGER:
            return int(text)
        # RFC 8785 writes doubles below 10^21 without exponent. Their own texts are read back; no text between them is.
        if len(text) <= 22 and rfc8785.dumps(float(text)) == text.encode():
            return float(text)
        return self._refuse("integer beyond 2^53-1; write it as a string")  # numbers are not repeated: a key may be one

    def read_double(self, text: str) -> Any:
        value = float(text)
        return self._refuse("number too large for a double") if math.isinf(value) else value


def _refusals(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Refused):
        yield f"at {_place(path)}: {value.reason}"
    elif isinstance(value, str):
        if not _is_unicode(value):
            yield f"at {_place(path)}: lone surrogate in the text"
    elif isinstance(value, dict):
        for key, child in value.items():
            if not _is_unicode(key):
                yield f"at {_place(path)}: lone surrogate in a key"
            yield from _refusals(child, f"{path}/{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _refusals(child, f"{path}/{index}")


def _place(path: str) -> str:
    """Write a path for a message: keys may come from a hostile file, so nothing unprintable and nothing endless."""
    return repr(path or "/")[1:-1][:200]


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def canonical_bytes(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value. `parse_json` reads them back to an equal value.

    Raises:
        FormatError: a value that JSON cannot carry exactly: NaN, infinity, an integer beyond 2^53-1,
            a lone surrogate, a key that is not text, any other Python type; or nesting beyond `MAX_DEPTH`.
    """
    try:
        data = rfc8785.dumps(value)
    except (ValueError, RecursionError) as error:
        to_json_value(value)  # names the exact place of what no JSON value can hold
        raise FormatError(
            f"value has no canonical JSON form: {error}", hint="convert it with to_json_value first"
        ) from error
    if _nesting(data) > MAX_DEPTH:
        raise FormatError(f"value is nested deeper than {MAX_DEPTH} levels")
    return data


def restore_doubles(value: Any) -> Any:
    """Turn integers beyond 2^53-1 into the doubles that they are in canonical JSON.

    For values that another parser made of canonical bytes; `parse_json` does it by itself.
    """
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return float(value)
    if isinstance(value, list):
        return [restore_doubles(child) for child in value]
    if isinstance(value, dict):
        return {key: restore_doubles(child) for key, child in value.items()}
    return value


def canonical_digest(value: Any, algorithm: str = HashFactory.DEFAULT) -> Digest:
    """Return the digest of a JSON value's canonical bytes, so that `b3sum` or `sha256sum` of the file agrees."""
    return HashFactory.digest(canonical_bytes(value), algorithm)


def to_json_value(value: Any, *, non_finite: bool = False) -> JsonValue:
    """Turn plain Python, NumPy and 0-dimensional tensor scalars into a JSON value, or say exactly why not.

    Tuples become lists. A float stays a float, a bool a bool; nothing is rounded or turned into text.

    Args:
        value: The value to convert.
        non_finite: Encode NaN and infinities as `{"non_finite": "NaN" | "Infinity" | "-Infinity"}`
            instead of refusing them, so that a diverged training keeps its record.

    Raises:
        FormatError: the message names the path of the offending value and its type.
    """
    return _to_json(value, "", non_finite, ())


def _to_json(value: Any, path: str, non_finite: bool, parents: tuple[int, ...]) -> JsonValue:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text_to_json(value, path)
    if isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise FormatError(f"integer at {_place(path)} is beyond 2^53-1", hint="write it as a string")
        return int(value)
    if isinstance(value, float):
        return _float_to_json(float(value), path, non_finite)
    if (scalar := _library_scalar(value)) is not None:
        return _to_json(scalar, path, non_finite, parents)
    if id(value) in parents:
        raise FormatError(f"the structure at {_place(path)} contains itself")
    if len(parents) >= MAX_DEPTH:
        raise FormatError(f"nested deeper than {MAX_DEPTH} levels at {_place(path)}")
    inner = (*parents, id(value))
    if isinstance(value, Mapping):
        return _mapping_to_json(value, path, non_finite, inner)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_to_json(child, f"{path}/{index}", non_finite, inner) for index, child in enumerate(value)]
    raise FormatError(
        f"value at {_place(path)} has type {type(value).__module__}.{type(value).__qualname__}, "
        "which JSON cannot carry",
        hint="convert it to a number, text, list or dict first",
    )


def _mapping_to_json(
    value: Mapping[Any, Any], path: str, non_finite: bool, parents: tuple[int, ...]
) -> dict[str, JsonValue]:
    result: dict[str, JsonValue] = {}
    for key, child in value.items():
        if not isinstance(key, str):
            raise FormatError(
                f"a key of type {type(key).__qualname__} below {_place(path)} is not text", hint="use string keys"
            )
        name = _text_to_json(key, path)
        if name in result:
            raise FormatError(f"key {name[:80]!r} appears twice in the object at {_place(path)}")
        result[name] = _to_json(child, f"{path}/{name}", non_finite, parents)
    return result


def _text_to_json(text: str, path: str) -> str:
    if not _is_unicode(text):
        raise FormatError(f"lone surrogate in the text at {_place(path)}")
    return str.__str__(text)  # str() of an enumeration's member would be its Python name


def _float_to_json(value: float, path: str, non_finite: bool) -> JsonValue:
    if math.isfinite(value):
        return value
    if not non_finite:
        raise FormatError(f"{value} at {_place(path)} has no JSON form")
    return {"non_finite": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _library_scalar(value: Any) -> bool | int | float | None:
    """Return the Python scalar inside a NumPy scalar or a 0-dimensional array or tensor, else None.

    Recognised by shape and `item`, so that neither NumPy nor torch is imported here.
    """
    item = getattr(value, "item", None)
    if not callable(item) or getattr(value, "shape", None) not in ((), []):
        return None
    scalar = item()
    return scalar if isinstance(scalar, bool | int | float) else None
