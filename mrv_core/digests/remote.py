# SPDX-License-Identifier: MIT
"""Files and folders behind URLs that fsspec can open: the same nodes as for local files and folders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mrv_core.digests.context import DigestContext
from mrv_core.digests.files import content_changed, path_node
from mrv_core.digests.hasher import ContentHasher
from mrv_core.errors import ConfigurationError, FormatError, MrvError, StorageError
from mrv_core.hashing import Digest
from mrv_core.progress import Task
from mrv_core.provenance_tree import MerkleNode

BLOCK: Final = 4 * 1024 * 1024
REQUESTS: Final = 8
"""Files read at the same time where the file system is made for it."""
_VERSION: Final = tuple(
    "size mtime modified last_modified LastModified updated created ETag etag version_id generation md5 md5Hash".split()
)
"""What file systems call the properties that tell one version of a file from another."""


def url_node(url: str, context: DigestContext) -> MerkleNode:
    """Return the leaf of a file, or the branch of a folder.

    Raises:
        StorageError: missing, unreadable, or the server did not answer.
        ConfigurationError: unknown protocol, or the package for it is not installed.
        FormatError: an entry that is neither file nor folder, or has a name that cannot be a label.
        ContentChangedError: a file changed while it was read.
    """
    name = masked(url)
    with _reading(name), context.progress.task(f"hashing {name}") as task:
        system, path = _open(url)
        if isinstance(system, LocalFileSystem):
            return path_node(Path(path), context)
        return _Remote(system, name, context.algorithm, task).node(path, context.label)


def is_empty(url: str) -> bool:
    """Whether there is not one byte behind a URL.

    Raises:
        StorageError: missing, unreadable, or the server did not answer.
        ConfigurationError: unknown protocol, or the package for it is not installed.
    """
    with _reading(masked(url)):
        system, path = _open(url)
        system.info(path)  # raises where nothing is; `find` finds nothing there without a word
        return all(info["size"] == 0 for info in system.find(path, detail=True).values())


def masked(url: str) -> str:
    """Return a URL without user, password, query and fragment, each of which can carry a secret."""
    return re.sub(r"[?#].*?(?=::|$)", "", re.sub(r"(?<=://)[^/]*@", "", url))


def _open(url: str) -> tuple[Any, str]:
    try:
        system, path = fsspec.url_to_fs(url)
    except ImportError as error:
        raise ConfigurationError(f"{masked(url)}: {error}", hint="install that package and try again") from error
    except ValueError as error:
        raise ConfigurationError(f"{masked(url)}: not a URL that fsspec can open", hint="check the URL") from error
    return system, path


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Whatever a file system of someone else's raises is one clear line here; its text may hold secrets."""
    try:
        yield
    except MrvError:
        raise
    except FileNotFoundError as error:
        raise StorageError(f"{name}: not found", hint="check the URL") from error
    except Exception as error:
        raise StorageError(
            f"{name}: cannot be read ({type(error).__name__})", hint="check access and network"
        ) from error


class _Remote:
    """Reads one URL's files."""

    def __init__(self, system: Any, name: str, algorithm: str, task: Task) -> None:
        self._system = system
        self._name = name
        self._algorithm = algorithm
        self._task = task

    def node(self, path: str, label: str) -> MerkleNode:
        info = self._system.info(path)
        if info["type"] == "directory":
            return self._folder(path, label)
        self._check_kind(info)
        return MerkleNode.leaf(label, "file", self._digest(path))

    def _folder(self, top: str, label: str) -> MerkleNode:
        listing = list(self._system.walk(top, detail=True, on_error="raise"))
        files = [info for _, _, infos in listing for info in infos.values()]
        for info in files:
            self._check_kind(info)
        paths = [info["name"] for info in files]
        with ThreadPoolExecutor(REQUESTS if self._system.async_impl else 1) as pool:
            digests = dict(zip(paths, pool.map(self._digest, paths), strict=True))
        below = {path.rstrip("/"): (folders, infos) for path, folders, infos in listing}
        return self._branch(top.rstrip("/"), label, below, digests)

    def _branch(self, path: str, label: str, below: dict[str, Any], digests: dict[str, Digest]) -> MerkleNode:
        folders, infos = below[path]
        nodes = [MerkleNode.leaf(self._checked(name), "file", digests[info["name"]]) for name, info in infos.items()]
        for name, info in folders.items():
            nodes.append(self._branch(info["name"].rstrip("/"), self._checked(name), below, digests))
        return MerkleNode.branch(label, sorted(nodes, key=lambda node: node.label))

    def _checked(self, name: str) -> str:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise FormatError(f"{self._name}: an entry is named {name!r}", hint="remove or rename it")
        return name

    def _check_kind(self, info: dict[str, Any]) -> None:
        if info["type"] != "file" or info.get("islink"):
            raise FormatError(
                f"{self._name}: {info['name']} is neither a plain file nor a folder",
                hint="copy the data without links, or mount it and pass pathlib.Path(...)",
            )

    def _digest(self, path: str) -> Digest:
        before = self._system.info(path)
        size = before.get("size")
        hasher, total = ContentHasher(self._algorithm, size or 0, self._task), 0
        with self._system.open(path, "rb") as file:
            while part := file.read(BLOCK):
                hasher.update(part)
                total += len(part)
        self._system.invalidate_cache(self._system._parent(path))
        if _version(self._system.info(path)) != _version(before) or size not in (None, total):
            raise content_changed(Path(path))
        return hasher.digest()


def _version(info: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(info.get(key) for key in _VERSION)
