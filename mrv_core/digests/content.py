# SPDX-License-Identifier: MIT
"""The front door for data: any supported object, file, folder or URL becomes one node."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from mrv_core.digests.context import DigestContext, SymlinkPolicy
from mrv_core.digests.values import is_json_like
from mrv_core.errors import ConfigurationError, FormatError
from mrv_core.files import storage_error
from mrv_core.hashing import HashFactory
from mrv_core.progress import Progress
from mrv_core.provenance_tree import MerkleNode


def content_node(
    content: Any,
    *,
    algorithm: str = HashFactory.DEFAULT,
    label: str = "content",
    progress: bool | None = None,
    symlinks: SymlinkPolicy = "refuse",
) -> MerkleNode:
    """Return the node that commits to every byte of some content (docs/spec/digests.md).

    Files and folders are given as `pathlib.Path`; text with `://` in it is a URL that fsspec opens. Inside
    mappings, tuples and lists, text is a value and is never opened.

    Args:
        content: Arrays, tensors, tables, files, folders, URLs, datasets, JSON values, bytes, or mappings and tuples of
            these; a list that is not a JSON value is a dataset of samples.
        algorithm: One of `HashFactory.algorithms()`.
        label: Label of the node.
        progress: False for no progress bar; otherwise one is shown on a terminal after a second.
        symlinks: `refuse` stops at a symbolic link inside a folder; `record` commits to its text. It is never followed.
            Whoever compares a folder with a commitment passes `record`: what was committed says what must be there.

    Raises:
        UnsupportedTypeError: no digester for a type.
        FormatError: content that has no digest: object arrays, NaN in JSON, plain text, links, cycles, ...
        StorageError: missing or unreadable.
        ContentChangedError: it changed while it was read.
        ConfigurationError: a library that the type needs is not installed.
    """
    context = top_context(algorithm, label, progress, symlinks)
    return text_node(content, context) if isinstance(content, str) else context.build(content)


def top_context(algorithm: str, label: str, progress: bool | None, symlinks: SymlinkPolicy = "refuse") -> DigestContext:
    """Return the context for content that stands for itself.

    Raises:
        FormatError: unknown algorithm.
        ConfigurationError: unknown policy for links.
    """
    HashFactory.create(algorithm)
    if symlinks not in get_args(SymlinkPolicy):
        raise ConfigurationError(f"unknown policy {symlinks!r} for symbolic links", hint="use 'refuse' or 'record'")
    return DigestContext(algorithm, label, label, Progress(progress), symlinks)


def text_node(text: str, context: DigestContext) -> MerkleNode:
    """Return the node behind a URL.

    Raises:
        FormatError: any other text. Taken as a value, a misspelt path would be committed to as if it were the data.
    """
    if is_url(text):
        from mrv_core.digests.remote import url_node

        return url_node(text, context)
    raise FormatError(
        f"{context.where}: the text {text[:80]!r} could be a path or a value",
        hint="pass pathlib.Path(...) for a file or folder, bytes or {'text': ...} for the text itself",
    )


def is_url(content: Any) -> bool:
    """Whether content is text that names something to open."""
    return isinstance(content, str) and "://" in content


def require_not_empty(content: Any, what: str = "the data set") -> None:
    """Refuse a data set without any data: it would be committed to, and mean nothing.

    Args:
        content: Anything that `content_node` takes.
        what: Name of the content for the error message.

    Raises:
        FormatError: no elements, rows, samples, files or bytes, or a part of a tuple or mapping without any.
        StorageError: missing or unreadable.
    """
    if isinstance(content, Mapping | tuple) and len(content) and not is_json_like(content):
        parts = content.items() if isinstance(content, Mapping) else enumerate(content)
        for name, part in parts:
            if not is_json_like(part):
                require_not_empty(part, f"{what}/{name}")
    elif _is_empty(content):
        raise FormatError(f"{what} is empty", hint="check the path or the query that the data comes from")


def _is_empty(content: Any) -> bool:
    if isinstance(content, Path):
        return _is_empty_path(content)
    if is_url(content):
        from mrv_core.digests.remote import is_empty

        return is_empty(content)
    shape = getattr(content, "shape", None)
    if isinstance(shape, tuple):
        return 0 in shape
    return hasattr(type(content), "__len__") and len(content) == 0


def _is_empty_path(path: Path) -> bool:
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return stat.S_ISREG(status.st_mode) and not status.st_size  # others are refused when they are read
        files = ((folder, name) for folder, _, names in os.walk(path, onerror=_raise) for name in names)
        return not any(os.lstat(os.path.join(folder, name)).st_size for folder, name in files)
    except OSError as error:
        raise storage_error("read", error.filename or path, error) from error


def _raise(error: OSError) -> None:
    raise error
