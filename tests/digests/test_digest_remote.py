# SPDX-License-Identifier: MIT
"""URLs: the nodes of the same files on this machine, and one clear line without secrets when something fails."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mrv_core.digests import content_node, model_nodes, remote, require_not_empty
from mrv_core.errors import ConfigurationError, ContentChangedError, FormatError, StorageError

FILES = {"a.txt": b"1", "b/c.bin": bytes(range(256)) * 50, "b/d/e": b"", "z/\u00e9": b"x"}


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe_file(f"/data/{name}", data)
    system.makedirs("/data/empty")
    yield system
    system.rm("/", recursive=True)
    system.store.clear()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "data" / "empty").mkdir()
    return tmp_path / "data"


@pytest.mark.usefixtures("memory")
def test_a_url_is_what_the_files_are(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK", 1000)
    for url in ("memory://data", "memory:///data/", f"file://{local}", f"local://{local}"):
        assert content_node(url) == content_node(local)
    for algorithm in ("blake3", "sha256"):
        expected = content_node(local / "b" / "c.bin", algorithm=algorithm)
        assert content_node("memory://data/b/c.bin", algorithm=algorithm) == expected
    assert model_nodes("memory://data/a.txt").weights == content_node(local / "a.txt", label="weights")


def test_archives_are_read_like_folders(memory: Any, tmp_path: Path) -> None:
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(f"data/{name}", data)
    memory.rmdir("/data/empty")
    for inner in (f"file://{path}", str(path)):
        assert content_node(f"zip://data::{inner}") == content_node("memory://data")


def test_names_that_climb_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/../../escaped", b"x")
    with pytest.raises(FormatError, match=r"an entry is named '\.\.'"):
        content_node(f"zip://data::file://{path}")
    assert not (tmp_path.parent / "escaped").exists()


FAILURES = [
    ("memory://data/missing", StorageError, "memory://data/missing: not found"),
    ("zip://x::memory://missing.zip", StorageError, "not found"),
    ("zip://x::memory://data/a.txt", StorageError, "cannot be read"),
    ("nonsense://x", ConfigurationError, "not a URL that fsspec can open"),
    ("nonsense://user:hunter2@host/x?token=hunter2#hunter2", ConfigurationError, "^nonsense://host/x: "),
]


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(("url", "error", "message"), FAILURES)
def test_failures_are_one_clear_line(url: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        content_node(url)
    assert "hunter2" not in str(caught.value)
    assert getattr(caught.value, "hint", None)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", refuse)
    with pytest.raises(ConfigurationError, match="Install s3fs"):
        content_node("s3://bucket/x")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        ("https://u:p@h/x?sig=1#f", "https://h/x"),
        ("https://u:p%40@h:8/x", "https://h:8/x"),
        ("zip://d/*.csv::https://u:p@h/z.zip?sig=1", "zip://d/*.csv::https://h/z.zip"),
        ("https://u:p@ss@h/x@y", "https://h/x@y"),
    ],
)
def test_secrets_in_urls_are_masked(url: str, masked: str) -> None:
    assert remote.masked(url) == masked


def test_whatever_a_file_system_raises_is_one_line(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class SecretError(Exception):
        pass

    def broken(*_: Any, **__: Any) -> Any:
        raise SecretError("the signature was hunter2")

    monkeypatch.setattr(MemoryFileSystem, "info", broken)
    with pytest.raises(StorageError, match=r"memory://data: cannot be read \(SecretError\)$"):
        content_node("memory://data")


@pytest.mark.parametrize("url", ["memory://data/b/c.bin", "memory://data"])
@pytest.mark.parametrize("data", [b"", b"longer" * 9999, bytes(256 * 50)])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    url: str, data: bytes, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BLOCK", 1000)
    real = MemoryFileSystem._open

    def open_then_change(system: Any, path: str, *rest: Any, **options: Any) -> Any:
        file = real(system, path, *rest, **options)
        if path.endswith("c.bin") and not changed:
            changed.append(path)
            memory.pipe_file(path, data)
        return file

    changed: list[str] = []
    monkeypatch.setattr(MemoryFileSystem, "_open", open_then_change)
    with pytest.raises(ContentChangedError, match=r"c\.bin changed while it was read"):
        content_node(url)


def test_links_are_refused(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MemoryFileSystem.info

    def info(system: Any, path: str, **options: Any) -> Any:
        return {**real(system, path, **options), "islink": True}

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    with pytest.raises(FormatError, match="neither a plain file nor a folder"):
        content_node("memory://data/a.txt")


def test_empty_urls_are_no_data_set(memory: Any) -> None:
    require_not_empty("memory://data")
    for url in ("memory://data/empty", "memory://data/b/d", "memory://data/b/d/e"):
        with pytest.raises(FormatError, match="is empty"):
            require_not_empty(url)
    with pytest.raises(StorageError):
        require_not_empty("memory://missing")


def test_urls_inside_content_are_values() -> None:
    assert content_node({"source": "memory://missing"}).kind == "json"
