# SPDX-License-Identifier: MIT
"""Folders as content: a branch for each folder, a leaf for each file, links refused or recorded, never followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mrv_core.digests.blocks import available_cpus
from mrv_core.digests.context import DigestContext
from mrv_core.digests.files import (
    Identity,
    content_changed,
    identity,
    listed_error,
    open_stable,
)
from mrv_core.digests.spans import CHANGED, FOLDER_FLAGS, SpanError, open_folder
from mrv_core.digests.workers import hash_spans
from mrv_core.errors import FormatError
from mrv_core.files import storage_error
from mrv_core.hashing import Digest, HashFactory
from mrv_core.progress import Task
from mrv_core.provenance_tree import MerkleNode

MAX_DEPTH: Final = 128
"""Deepest nesting of folders below the root; a stored tree takes a little more."""
SPAN_FILES: Final = 256
"""Most files handed to a worker at once: about 10 ms of small files."""
SPANS_A_WORKER: Final = 8
"""Spans to make for each worker where there are few files, so that all end together."""


@dataclass(slots=True)
class _Folder:
    """What a listing found.

    Attributes:
        names: Names from the root folder down to this one.
        identity: Identity when it was listed.
        files: Names of the regular files, sorted.
        folders: The folders in it.
        nodes: Nodes of its files and links, by name.
    """

    names: tuple[str, ...]
    identity: Identity
    files: list[str] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)
    nodes: dict[str, MerkleNode] = field(default_factory=dict)


def folder_node(path: Path, context: DigestContext) -> MerkleNode:
    """Return the branch of a folder.

    Raises:
        StorageError: something in it cannot be read.
        FormatError: a link that is not to be recorded, a name that is not UTF-8, a FIFO, socket or device.
        ContentChangedError: something changed while it was read.
    """
    try:
        root = os.open(path, FOLDER_FLAGS & ~os.O_NOFOLLOW)
    except OSError as error:
        raise storage_error("read", path, error) from error
    try:
        return _Reader(path, root, context).node()
    except SpanError as problem:
        place = path.joinpath(*problem.path)
        if problem.number == CHANGED:
            raise content_changed(place) from problem
        raise listed_error(place, OSError(problem.number, os.strerror(problem.number))) from problem
    finally:
        os.close(root)


class _Reader:
    """Reads one folder tree through the descriptor of its root."""

    def __init__(self, path: Path, root: int, context: DigestContext) -> None:
        self._path = path
        self._root = root
        self._context = context
        self._bytes = 0

    def node(self) -> MerkleNode:
        top = self._list(())
        folders = list(_walk(top))
        total = self._bytes if self._context.progress.visible else None
        with self._context.progress.task(f"hashing {self._path}", total=total) as task:
            self._hash_files(folders, task)
        for folder in folders:
            self._check_unchanged(folder)
        return _branch(self._context.label, top)

    def _list(self, names: tuple[str, ...]) -> _Folder:
        if len(names) > MAX_DEPTH:
            raise FormatError(f"{self._path.joinpath(*names)}: folders nested deeper than {MAX_DEPTH}")
        descriptor = open_folder(self._root, names)
        try:
            folder = _Folder(names, identity(os.fstat(descriptor)))
            with os.scandir(descriptor) as entries:
                below = [entry.name for entry in entries if self._add(folder, entry, descriptor)]
        except OSError as error:
            raise SpanError(names, error.errno or CHANGED) from error
        finally:
            os.close(descriptor)
        folder.files.sort()
        folder.folders.extend(self._list((*names, name)) for name in sorted(below))
        return folder

    def _add(self, folder: _Folder, entry: os.DirEntry[str], descriptor: int) -> bool:
        """Take note of one entry, and return whether it is a folder."""
        name = entry.name
        if not name.isascii():
            self._check_name(folder, name)
        if entry.is_file(follow_symlinks=False):
            folder.files.append(name)
            if self._context.progress.visible:
                self._bytes += entry.stat(follow_symlinks=False).st_size
        elif entry.is_symlink():
            folder.nodes[name] = self._link(folder, name, descriptor)
        elif not entry.is_dir(follow_symlinks=False):
            raise FormatError(
                f"{self._path.joinpath(*folder.names, name)} is neither a file nor a folder",
                hint="move FIFOs, sockets and devices out of the folder",
            )
        else:
            return True
        return False

    def _check_name(self, folder: _Folder, name: str) -> None:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            place = self._path.joinpath(*folder.names)
            raise FormatError(f"{place}: the name {os.fsencode(name)!r} is not UTF-8", hint="rename it") from error

    def _link(self, folder: _Folder, name: str, descriptor: int) -> MerkleNode:
        if self._context.symlinks != "record":
            raise FormatError(
                f"{self._path.joinpath(*folder.names, name)} is a symbolic link",
                hint="commit to the link itself with symlinks='record', or put the file it means in its place",
            )
        target = os.fsencode(os.readlink(name, dir_fd=descriptor))
        return MerkleNode.leaf(name, "symlink", HashFactory.digest(target, self._context.algorithm))

    def _hash_files(self, folders: list[_Folder], task: Task) -> None:
        algorithm = self._context.algorithm
        work = _spans(folders)
        large: list[tuple[_Folder, str]] = []

        def deliver(index: int, digests: list[bytes | None], size: int) -> None:
            found = iter(digests)
            for folder, names in work[index]:
                for name, digest in zip(names, found, strict=False):
                    if digest is None:
                        large.append((folder, name))
                    else:
                        folder.nodes[name] = MerkleNode.leaf(name, "file", Digest(algorithm, digest))
            task.advance(size)

        plain = [[(folder.names, names) for folder, names in span] for span in work]
        hash_spans(self._root, plain, algorithm, deliver)
        for folder, name in large:
            folder.nodes[name] = MerkleNode.leaf(name, "file", self._large_file(folder, name, task))

    def _large_file(self, folder: _Folder, name: str, task: Task) -> Digest:
        descriptor = open_folder(self._root, folder.names)
        try:
            with open_stable(self._path.joinpath(*folder.names, name), folder=descriptor) as file:
                return file.digest(self._context.algorithm, task)
        finally:
            os.close(descriptor)

    def _check_unchanged(self, folder: _Folder) -> None:
        """Adding, removing and replacing a file by renaming all change the folder's own times."""
        descriptor = open_folder(self._root, folder.names)
        try:
            if identity(os.fstat(descriptor)) != folder.identity:
                raise SpanError(folder.names, CHANGED)
        finally:
            os.close(descriptor)


def _walk(folder: _Folder) -> Iterator[_Folder]:
    yield folder
    for child in folder.folders:
        yield from _walk(child)


def _spans(folders: list[_Folder]) -> list[list[tuple[_Folder, list[str]]]]:
    """Cut all files into spans of about equal numbers of files."""
    files = sum(len(folder.files) for folder in folders)
    width = max(1, min(SPAN_FILES, files // (SPANS_A_WORKER * available_cpus())))
    spans: list[list[tuple[_Folder, list[str]]]] = []
    room = 0
    for folder in folders:
        start = 0
        while start < len(folder.files):
            if not room:
                spans.append([])
                room = width
            names = folder.files[start : start + room]
            spans[-1].append((folder, names))
            start, room = start + len(names), room - len(names)
    return spans


def _branch(label: str, folder: _Folder) -> MerkleNode:
    nodes = folder.nodes | {child.names[-1]: _branch(child.names[-1], child) for child in folder.folders}
    return MerkleNode.branch(label, [nodes[name] for name in sorted(nodes)])
