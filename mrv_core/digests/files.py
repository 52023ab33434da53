# SPDX-License-Identifier: MIT
"""Files as content: read through one descriptor, never waiting, and an error if they change meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from mrv_core.digests.blocks import blocks
from mrv_core.digests.context import DigestContext
from mrv_core.digests.hasher import ContentHasher
from mrv_core.errors import ContentChangedError, FormatError, MrvError
from mrv_core.files import storage_error
from mrv_core.hashing import Digest, HashFactory
from mrv_core.progress import Progress, Task
from mrv_core.provenance_tree import MerkleNode

READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Opening a FIFO with O_NONBLOCK returns at once, so that its type can be looked at."""

Identity: TypeAlias = tuple[int, ...]


def identity(status: os.stat_result) -> Identity:
    """Return what changes when a file or the list of names in a folder changes."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def digest_file(path: Path | str, algorithm: str = HashFactory.DEFAULT, *, progress: bool | None = None) -> Digest:
    """Return the digest of a file's bytes, the one that `b3sum` or `sha256sum` prints.

    Args:
        path: The file.
        algorithm: One of `HashFactory.algorithms()`.
        progress: False for no bar; otherwise one is shown on a terminal after a second.

    Raises:
        StorageError: missing, unreadable.
        FormatError: not a regular file, or unknown algorithm.
        ContentChangedError: it changed while it was read.
    """
    with open_stable(Path(path)) as file, Progress(progress).task(f"hashing {path}", total=file.size) as task:
        return file.digest(algorithm, task)


def path_node(path: Path, context: DigestContext) -> MerkleNode:
    """Return the leaf of a file, or the branch of a folder.

    The path itself is opened as the operating system resolves it; only below it are links a question.

    Raises:
        StorageError: missing, unreadable.
        FormatError: neither file nor folder, or a link or name in the folder that cannot be recorded.
        ContentChangedError: something changed while it was read.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(_checked_name(path)).st_mode)
    except OSError as error:
        raise storage_error("read", path, error) from error
    if is_folder:
        from mrv_core.digests.folders import folder_node

        return folder_node(path, context)
    with open_stable(path) as file, context.progress.task(f"hashing {path}", total=file.size) as task:
        return context.leaf("file", file.digest(context.algorithm, task))


class StableFile:
    """A regular file opened for reading; `open_stable` makes it and checks it at the end.

    Attributes:
        path: Its path, for error messages.
        size: Bytes when it was opened.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        _check_regular(path, status.st_mode)
        self.size = status.st_size
        self._identity = identity(status)

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from an offset.

        Raises:
            ContentChangedError: the file is shorter now.
        """
        parts = bytearray()
        while len(parts) < length:
            part = os.pread(self._descriptor, length - len(parts), start + len(parts))
            if not part:
                raise self.changed()
            parts += part
        return bytes(parts)

    def feed(self, hasher: ContentHasher, start: int, length: int) -> None:
        """Feed `length` bytes from an offset to a hasher.

        Raises:
            ContentChangedError: the file is shorter now.
        """
        fed = 0
        with closing(blocks(self._descriptor, start, start + length)) as parts:
            for part in parts:
                hasher.update(part)
                fed += len(part)
        if fed != length:
            raise self.changed()

    def digest(self, algorithm: str, task: Task) -> Digest:
        """Return the digest of the whole file.

        Raises:
            ContentChangedError: it does not have the size it had when it was opened.
        """
        hasher = ContentHasher(algorithm, self.size, task)
        self.feed(hasher, 0, self.size)
        if os.pread(self._descriptor, 1, self.size):
            raise self.changed()
        return hasher.digest()

    def check_unchanged(self, named: os.stat_result) -> None:
        """Check that the file is the one it was, and that its name still means it.

        Raises:
            ContentChangedError: it is not.
        """
        now = os.fstat(self._descriptor)
        if identity(now) != self._identity or not os.path.samestat(now, named):
            raise self.changed()

    def changed(self) -> ContentChangedError:
        """Build the error for a file that changed."""
        return content_changed(self.path)


@contextmanager
def open_stable(path: Path, *, folder: int | None = None) -> Iterator[StableFile]:
    """Open a regular file, and check when the block ends that it did not change.

    Args:
        path: The file; without `folder`, links in it are followed.
        folder: Descriptor of the folder in which the last part of `path` is opened, a link there not followed.

    Raises:
        StorageError: missing, unreadable.
        FormatError: not a regular file.
        ContentChangedError: it changed during the block.
    """
    name = _checked_name(path) if folder is None else path.name
    links = folder is None
    try:
        # Asked before opening, because opening a device can do things; and again behind the descriptor.
        mode = os.stat(name, dir_fd=folder, follow_symlinks=links).st_mode
        if folder is not None and not stat.S_ISREG(mode):
            raise content_changed(path)
        _check_regular(path, mode)
        descriptor = os.open(name, READ_FLAGS | (0 if links else os.O_NOFOLLOW), dir_fd=folder)
        try:
            file = StableFile(path, descriptor)
            yield file
            file.check_unchanged(_stat_again(name, folder, links, file))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise (storage_error("read", path, error) if links else listed_error(path, error)) from error


def content_changed(path: Path) -> ContentChangedError:
    """Build the error for content that changed while it was read."""
    return ContentChangedError(f"{path} changed while it was read", hint="run it again when nothing writes there")


def listed_error(path: Path, error: OSError) -> MrvError:
    """Build the error for a file or folder that a listing showed a moment ago and that cannot be opened now."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
        return content_changed(path)
    return storage_error("read", path, error)


def _checked_name(path: Path) -> str:
    try:
        if b"\0" not in os.fsencode(path):
            return str(path)
    except UnicodeEncodeError:
        pass
    raise FormatError(f"{str(path)!r} cannot be the name of a file")


def _stat_again(name: str, folder: int | None, links: bool, file: StableFile) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=links)
    except FileNotFoundError as error:
        raise file.changed() from error


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise FormatError(f"{path} is {kind}, not a file", hint="only files and folders have content to commit to")
