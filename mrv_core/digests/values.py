# SPDX-License-Identifier: MIT
"""Plain Python content: JSON values, bytes, mappings, tuples, and map-style datasets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mrv_core.canonical import to_json_value
from mrv_core.digests.context import DigestContext, find_digester, qualified_name, unsupported
from mrv_core.digests.hasher import ContentHasher, u64
from mrv_core.errors import ContentChangedError, FormatError, MrvError, StorageError
from mrv_core.hashing import Digest
from mrv_core.merkle import Frontier
from mrv_core.provenance_tree import MerkleNode

SAMPLE_LABEL: Final = "sample"
"""Label of every sample's node; its position in the log says which one it is."""


def json_node(value: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of a JSON value."""
    try:
        return MerkleNode.json(context.label, to_json_value(value), context.algorithm)
    except FormatError as error:
        raise FormatError(f"{context.where}: {error.message}", hint=error.hint) from error


def bytes_node(content: bytes | bytearray | memoryview, context: DigestContext) -> MerkleNode:
    """Return the leaf of raw bytes."""
    view = memoryview(content)
    view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    with context.progress.task(f"hashing {context.where}", total=len(view)) as task:
        hasher = ContentHasher(context.algorithm, len(view), task)
        hasher.update(view)
        return context.leaf("bytes", hasher.digest())


def mapping_node(content: Mapping[Any, Any], context: DigestContext) -> MerkleNode:
    """Return one JSON leaf if it is JSON all the way down, else a branch of the items, sorted by label."""
    if is_json_like(content):
        return json_node(content, context)
    return state_node(content, context)


def state_node(content: Mapping[Any, Any], context: DigestContext) -> MerkleNode:
    """Return a branch of the items, sorted by label, for instance of the tensors of a state dict."""
    for key in content:
        if not isinstance(key, str):
            kind = type(key).__name__
            raise FormatError(f"{context.where}: a key of type {kind} is not text", hint="use string keys")
    total = _known_bytes(content) if context.progress.visible else None
    with context.progress.task(f"hashing {context.where}", total=total):
        # Sorting by code points is sorting by UTF-8 bytes.
        return branch_of(((key, content[key]) for key in sorted(content)), context)


def tuple_node(content: tuple[Any, ...], context: DigestContext) -> MerkleNode:
    """Return one JSON leaf if it is JSON all the way down, else a branch of the parts.

    The parts of a pair are labelled `x` and `y`, those of a named tuple with its field names, others with their index.
    """
    if is_json_like(content):
        return json_node(content, context)
    names = getattr(content, "_fields", ("x", "y") if len(content) == 2 else map(str, range(len(content))))
    return branch_of(zip(names, content, strict=True), context)


def list_node(content: list[Any], context: DigestContext) -> MerkleNode:
    """Return one JSON leaf if it is JSON all the way down, else the leaf of a dataset of samples."""
    return json_node(content, context) if is_json_like(content) else dataset_node(content, context)


def _known_bytes(content: Mapping[str, Any]) -> int | None:
    try:
        return sum(int(value.nbytes) for value in content.values())
    except Exception:  # no such attribute, or not for this tensor: the bar does without a total
        return None


def branch_of(items: Iterable[tuple[str, Any]], context: DigestContext) -> MerkleNode:
    """Return a branch of labelled content in the order given."""
    return MerkleNode.branch(context.label, [context.node(item, label) for label, item in items])


def dataset_node(content: Any, context: DigestContext) -> MerkleNode:
    """Return the leaf of a map-style dataset: every sample hashed, their node hashes in an RFC 9162 log."""
    size = _length(content, context)
    log, inner = Frontier(), context.quiet()
    with context.progress.task(f"hashing {context.where}", total=size, unit="samples") as task:
        for index in range(size):
            sample = _sample(content, index, context)
            log.append(inner.inside(sample, SAMPLE_LABEL, f"{context.where}[{index}]").build(sample).hash)
            task.advance(1)
    if _length(content, context) != size:
        raise ContentChangedError(f"{context.where}: the dataset changed its length while it was read")
    return context.leaf("dataset", _log_digest(log, context.algorithm))


def _log_digest(log: Frontier, algorithm: str) -> Digest:
    hasher = ContentHasher(algorithm, 0)
    hasher.update(u64(log.size) + log.root())
    return hasher.digest()


def _length(content: Any, context: DigestContext) -> int:
    try:
        return len(content)
    except TypeError as error:
        hint = "give it a length, or copy the samples into a list"
        raise unsupported(type(content), context.where, hint) from error
    except Exception as error:
        raise _unreadable(content, "the length", context, error) from error


def _sample(content: Any, index: int, context: DigestContext) -> Any:
    try:
        return content[index]
    except Exception as error:
        raise _unreadable(content, f"sample {index}", context, error) from error


def _unreadable(content: Any, part: str, context: DigestContext, error: Exception) -> MrvError:
    """Whatever the code of someone else's dataset raises is one clear line here."""
    if isinstance(error, MrvError):
        return error
    name = qualified_name(type(content))
    return StorageError(f"{context.where}: {part} of {name} cannot be read: {type(error).__name__}: {error}")


def is_json_like(value: Any) -> bool:
    """Whether a value consists of JSON types all the way down; the values themselves may still be refused."""
    stack, seen = [value], set()
    while stack:
        item = stack.pop()
        digester = find_digester_or_none(type(item))
        if digester in (mapping_node, list_node, tuple_node):
            if id(item) not in seen:  # a cycle ends here, and is refused with its place when it is converted
                seen.add(id(item))
                stack.extend(item.values() if digester is mapping_node else item)
        elif digester is not json_node:
            return False
    return True


def find_digester_or_none(cls: type) -> Any:
    """Return the function that hashes objects of a class, or None."""
    try:
        return find_digester(cls, "")
    except MrvError:
        return None
