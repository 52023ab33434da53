# SPDX-License-Identifier: MIT
"""Files and folders: the oracle's nodes, whichever way they are read, and no answer about what changed meanwhile."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import digest_oracle as oracle
import pytest
import vector_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrv_core.digests import blocks, content_node, digest_file, folders, require_not_empty, spans, workers
from mrv_core.digests.files import open_stable
from mrv_core.errors import ContentChangedError, FormatError, MrvError, StorageError

SIZES = [0, 1, 4095, 4096, 4097, 300_000]


# --- files


@pytest.mark.parametrize("algorithm", vector_cases.ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_its_bytes(size: int, algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(vector_cases.pattern(size))
    node = content_node(path, algorithm=algorithm, label="f")
    assert node.hash.hex() == oracle.path_node("f", path, algorithm)["hash"]
    assert digest_file(path, algorithm) == digest_file(str(path), algorithm) == node.digest
    if algorithm == "sha256":
        assert node.digest is not None
        assert node.digest.hex == hashlib.sha256(path.read_bytes()).hexdigest()


class Collector:
    """Stands in for a hasher: keeps the bytes, and does something at the first block and at the second."""

    def __init__(self, *actions: Callable[[], object]) -> None:
        self.data = bytearray()
        self._actions = list(actions)

    def update(self, part: memoryview) -> None:
        self.data += part
        if self._actions:
            self._actions.pop(0)()


@pytest.fixture(params=["read", "mapped", "read ahead"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make small files be read in each of the ways that large ones are, in blocks of a few pages."""
    monkeypatch.setattr(blocks, "BLOCK", 8192)
    if request.param != "read":
        monkeypatch.setattr(blocks, "LARGE", 16384)
    if request.param == "read ahead":
        monkeypatch.delattr("fcntl.F_SETLEASE")
        monkeypatch.setattr(blocks, "available_cpus", lambda: 6)
    return str(request.param)


@pytest.mark.parametrize(("start", "length"), [(0, 100_000), (0, 99_999), (1, 99_999), (4097, 50_000), (8, 0), (7, 3)])
def test_every_part_is_read_in_every_way(way: str, start: int, length: int, tmp_path: Path) -> None:
    content = vector_cases.pattern(100_000)
    path = tmp_path / "f"
    path.write_bytes(content)
    collector = Collector()
    with open_stable(path) as file:
        file.feed(collector, start, length)  # type: ignore[arg-type]
    assert collector.data == content[start : start + length]


def overwrite(path: Path, data: bytes, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").rename(path)


def make_link(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.symlink_to("old")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 9000),
    "emptied": lambda path: os.truncate(path, 0),
    "appended": lambda path: os.truncate(path, 200_000),
    "rewritten": lambda path: path.write_bytes(b"x" * 100_000),
    "one byte": lambda path: overwrite(path, b"!", 50_000),
    "replaced": replace,
    "deleted": lambda path: path.unlink(),
    "made a link": make_link,
    "made a folder": make_folder,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_an_error(change: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(vector_cases.pattern(100_000))
    # A lease holds a writer back until the block is hashed, so the change is made by somebody who can wait.
    writer = threading.Thread(target=CHANGES[change], args=(path,))

    def begin() -> None:
        writer.start()
        while writer.is_alive() and fcntl.fcntl(file._descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK:
            os.sched_yield()

    with pytest.raises(ContentChangedError, match="changed while it was read"), open_stable(path) as file:
        file.feed(Collector(begin, writer.join), 0, file.size)  # type: ignore[arg-type]
    writer.join()


def test_a_mapped_file_is_held_until_somebody_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(blocks, "LARGE", 16384)
    path = tmp_path / "f"
    path.write_bytes(vector_cases.pattern(100_000))
    outcomes: list[str] = []

    def open_for_writing() -> None:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            outcomes.append("opened")
        except BlockingIOError:
            outcomes.append("held back")

    collector = Collector(open_for_writing, open_for_writing)
    with open_stable(path) as file:
        if not _can_lease(file._descriptor):
            pytest.skip("this file system grants no leases")
        file.feed(collector, 0, file.size)  # type: ignore[arg-type]
    assert outcomes == ["held back", "opened"]
    assert collector.data == vector_cases.pattern(100_000)


def _can_lease(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def test_a_file_with_a_writer_is_not_mapped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(blocks, "LARGE", 16384)
    monkeypatch.setattr(blocks, "_window", None)
    path = tmp_path / "f"
    path.write_bytes(vector_cases.pattern(100_000))
    with open(path, "ab"):
        assert digest_file(path).hex == oracle.path_node("f", path)["digest"].partition(":")[2]


@pytest.mark.parametrize("length", [100, 100_000])
def test_files_that_hold_more_than_they_say_are_an_error(length: int, tmp_path: Path) -> None:
    path = Path("/proc/self/maps")
    if not path.exists():
        pytest.skip("no /proc")
    with pytest.raises(ContentChangedError):
        digest_file(path)


def test_a_sparse_file_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(2**28)
    assert digest_file(path).hex == hashlib_like(2**28)


def hashlib_like(size: int) -> str:
    from blake3 import blake3

    return blake3(bytes(size)).hexdigest()


# --- what is not a file


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL: dict[str, Callable[[Path], object]] = {"FIFO": os.mkfifo, "socket": make_socket}


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_refused_without_waiting(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to about 100 bytes
    SPECIAL[kind](Path("special"))
    with pytest.raises(FormatError, match=kind):
        digest_file("special")
    with pytest.raises(FormatError, match="special is a"):
        content_node(Path("special"))
    with pytest.raises(FormatError, match="special is neither a file nor a folder"):
        content_node(tmp_path)


def test_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    for path, kind in ((Path(os.devnull), "a device"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(FormatError, match=f"{path} is {kind}, not a file"):
            digest_file(path)


MISSING = [
    ("nothing", "No such file"),
    ("file/below", "Not a directory"),
    ("loop", "symbolic links"),
    ("gone", "No such"),
]


@pytest.mark.parametrize(("name", "reason"), MISSING)
def test_missing_files_are_one_clear_line(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nothing")
    path = tmp_path / name
    for attempt in (content_node, digest_file):
        with pytest.raises(StorageError, match=reason) as caught:
            attempt(path)
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_text_that_no_file_can_be_named_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="cannot be the name of a file"):
        content_node(Path(name))


def test_unreadable_files_and_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_bytes(b"x")
    real = os.open

    def denied(name: Any, *rest: Any, **options: Any) -> int:
        if str(name).endswith("f"):
            raise PermissionError(errno.EACCES, "denied")
        return real(name, *rest, **options)

    monkeypatch.setattr(os, "open", denied)  # the tests may run as root, whom no mode stops
    for path in (tmp_path, tmp_path / "sub" / "f"):
        with pytest.raises(StorageError, match=r"cannot read .*sub/f: Permission denied"):
            content_node(path)


# --- folders


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
trees = st.recursive(
    st.binary(max_size=20),
    lambda inner: st.dictionaries(names.filter(lambda name: name not in (".", "..")), inner, max_size=4),
    max_leaves=10,
)


def write_tree(path: Path, tree: Any) -> None:
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return
    path.mkdir()
    for name, inner in tree.items():
        write_tree(path / name, inner)


@given(trees.filter(lambda tree: isinstance(tree, dict)))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folders_against_the_oracle(tmp_path: Path, tree: dict[str, Any]) -> None:
    path = tmp_path / f"case{len(list(tmp_path.iterdir()))}"
    write_tree(path, tree)
    assert content_node(path, label="top").hash.hex() == oracle.path_node("top", path)["hash"]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Three hundred files in twelve folders and below them, one of them empty."""
    top = tmp_path / "many"
    for index in range(300):
        folder = top / f"{index % 12:02}" / "deeper" if index % 3 else top / f"{index % 12:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.bin").write_bytes(vector_cases.pattern(index * 7))
    (top / "empty" / "too").mkdir(parents=True)
    return top


@pytest.mark.parametrize("algorithm", vector_cases.ALGORITHMS)
@pytest.mark.parametrize("children_from", [1, 1000])
@pytest.mark.parametrize("large_from", [500, 2**30])
def test_every_way_of_reading_a_folder_is_one(
    algorithm: str, children_from: int, large_from: int, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CHILDREN_FROM", children_from)
    monkeypatch.setattr(workers, "available_cpus", lambda: 3)
    monkeypatch.setattr(spans, "LARGE", large_from)
    node = content_node(many, algorithm=algorithm, label="many")
    assert node.hash.hex() == oracle.path_node("many", many, algorithm)["hash"]


def test_a_child_that_dies_loses_nothing(
    many: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = content_node(many)
    monkeypatch.setattr(workers, "CHILDREN_FROM", 1)
    monkeypatch.setattr(workers, "available_cpus", lambda: 2)
    died, receive, here = threading.Event(), workers._Child.receive, workers._Pool._here_and_deliver
    children: list[Any] = []

    def die(child: Any) -> Any:
        child._process.kill()
        children.append(child)
        died.set()
        return receive(child)

    def wait_for_it(pool: Any) -> None:
        assert died.wait(60)
        here(pool)

    monkeypatch.setattr(workers._Child, "receive", die)
    monkeypatch.setattr(workers._Pool, "_here_and_deliver", wait_for_it)
    assert content_node(many) == expected
    assert [child._process.returncode for child in children] == [-9]
    assert "a hashing process ended (exit status -9)" in caplog.text


def test_no_child_is_started_where_python_is_inside_another_program(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content_node(many)
    monkeypatch.setattr(workers, "CHILDREN_FROM", 1)
    monkeypatch.setattr(workers, "available_cpus", lambda: 2)
    monkeypatch.setattr(workers, "_Child", None)
    for executable in ("/usr/bin/uwsgi", "", None):
        monkeypatch.setattr(sys, "executable", executable)
        assert content_node(many) == expected


def test_a_child_that_does_not_start_is_replaced(
    many: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = content_node(many)
    monkeypatch.setattr(workers, "CHILDREN_FROM", 1)
    monkeypatch.setattr(workers, "available_cpus", lambda: 2)
    for executable in ("/nowhere/python3", "/bin/python-that-is-not"):
        monkeypatch.setattr(sys, "executable", executable)
        assert content_node(many) == expected
    assert "hashed in this process instead" in caplog.text


def in_child(root: int, span: spans.Span) -> None:
    with workers._Child(root, "blake3") as child:
        child.send(span)
        child.receive()


def in_process(root: int, span: spans.Span) -> None:
    spans.SpanHasher(root, "blake3").digests(span)


@pytest.mark.parametrize("place", [in_child, in_process])
def test_errors_are_the_same_from_a_child(place: Callable[[int, spans.Span], None], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to("nothing")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        for path, number in ((("a", "missing"), errno.ENOENT), (("a", "link"), errno.ELOOP)):
            with pytest.raises(spans.SpanError) as caught:
                place(root, [([path[0]], [path[1]])])
            assert (caught.value.path, caught.value.number) == (path, number)
    finally:
        os.close(root)


def test_no_child_outlives_its_work(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CHILDREN_FROM", 1)
    monkeypatch.setattr(workers, "available_cpus", lambda: 3)
    started: list[Any] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    threads = threading.active_count()
    content_node(many)
    assert len(started) == 2
    assert [process.returncode for process in started] == [0, 0]
    (many / "00" / "0.bin").unlink()
    os.mkfifo(many / "00" / "0.bin")
    with pytest.raises(FormatError):
        content_node(many)
    assert all(process.returncode is not None for process in started)
    assert threading.active_count() == threads


# --- what changes in a folder


def add(folder: Path) -> None:
    (folder / "new").write_bytes(b"")


FOLDER_CHANGES: dict[str, Callable[[Path], object]] = {
    "added": add,
    "added below": lambda folder: add(folder / "b"),
    "removed": lambda folder: (folder / "b" / "2").unlink(),
    "removed later one": lambda folder: (folder / "c" / "3").unlink(),
    "renamed": lambda folder: (folder / "b" / "2").rename(folder / "b" / "4"),
    "replaced": lambda folder: replace(folder / "a" / "1"),
    "file made a link": lambda folder: make_link(folder / "c" / "3"),
    "file made a FIFO": lambda folder: ((folder / "c" / "3").unlink(), os.mkfifo(folder / "c" / "3")),
    "folder made a link": lambda folder: make_link(folder / "c"),
    "folder removed": lambda folder: ((folder / "c" / "3").unlink(), (folder / "c").rmdir()),
    "written while read": lambda folder: (folder / "a" / "1").write_bytes(b"X"),
    "truncated while read": lambda folder: os.truncate(folder / "a" / "1", 0),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_a_folder_that_changes_while_it_is_read_is_an_error(
    change: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1", "b/2", "c/3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setattr(folders, "available_cpus", lambda: 1)
    monkeypatch.setattr(workers, "available_cpus", lambda: 1)
    if large:
        monkeypatch.setattr(spans, "LARGE", 0)  # every file is looked at, left out, and read later
    first = 4 if large else 1
    real, calls = os.fstat, []

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if stat.S_ISREG(status.st_mode):
            calls.append(descriptor)
            if len(calls) == first:  # the file a/1 has been opened, and not read
                FOLDER_CHANGES[change](tmp_path)
        return status

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(ContentChangedError, match="changed while it was read"):
        content_node(tmp_path)
    assert len(calls) >= first


# --- links


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with links to a file, out of the folder, to nothing, to itself, and to a folder above."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    for name, target in (("b", "a"), ("out", "../secret"), ("gone", "nothing"), ("loop", "loop"), ("up", "..")):
        (folder / name).symlink_to(target)
    return folder


def test_links_are_refused_by_name(linked: Path) -> None:
    with pytest.raises(FormatError, match=r"folder/\w+ is a symbolic link") as caught:
        content_node(linked)
    assert "record" in (caught.value.hint or "")


def test_recorded_links_are_their_text(linked: Path) -> None:
    node = content_node(linked, symlinks="record", label="x")
    assert node.hash.hex() == oracle.path_node("x", linked, links=True)["hash"]
    assert {child.label: child.kind for child in node.children} == {
        "a": "file",
        **dict.fromkeys(["b", "gone", "loop", "out", "up"], "symlink"),
    }
    (linked.parent / "secret").write_bytes(b"other")
    assert content_node(linked, symlinks="record", label="x") == node
    (linked / "out").unlink()
    (linked / "out").symlink_to("../other")
    assert content_node(linked, symlinks="record", label="x") != node


def test_a_link_is_never_the_file_it_means(linked: Path) -> None:
    with_link = content_node(linked, symlinks="record")
    (linked / "b").unlink()
    (linked / "b").write_bytes(b"a")
    as_file = content_node(linked, symlinks="record")
    (linked / "b").write_bytes(b"../a")
    assert len({with_link.hash, as_file.hash, content_node(linked, symlinks="record").hash}) == 3


def test_the_path_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").symlink_to("real/f")
    assert content_node(tmp_path / "link") == content_node(tmp_path / "real")
    assert content_node(tmp_path / "file") == content_node(tmp_path / "real" / "f")


# --- names


def test_names_are_kept_as_they_are(tmp_path: Path) -> None:
    for name in ("\u00e9", "e\u0301", "A", "a", " ", "a~b", "\n", "-", "\u202e"):
        (tmp_path / name).write_bytes(b"")
    node = content_node(tmp_path, label="t")
    assert node.hash.hex() == oracle.path_node("t", tmp_path)["hash"]
    assert len(node.children) == 9


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/bad\xff", "wb"):
        pass
    with pytest.raises(FormatError, match=r"the name b'bad\\xff' is not UTF-8"):
        content_node(tmp_path)


def test_bytes_cannot_move_between_name_and_content(tmp_path: Path) -> None:
    nodes = []
    for name, data in (("a", b"bc"), ("ab", b"c"), ("abc", b"")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(data)
        nodes.append(content_node(folder).hash)
    assert len(set(nodes)) == 3


def test_too_deep_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_DEPTH", 3)
    (tmp_path / "1" / "2" / "3").mkdir(parents=True)
    content_node(tmp_path)
    (tmp_path / "1" / "2" / "3" / "4").mkdir()
    with pytest.raises(FormatError, match="nested deeper than 3"):
        content_node(tmp_path)


def test_empty_paths_are_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "zero").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a" / "zero"):
        with pytest.raises(FormatError, match="is empty"):
            require_not_empty(path)
    (tmp_path / "a" / "b" / "one").write_bytes(b"1")
    require_not_empty(tmp_path)
    with pytest.raises(StorageError):
        require_not_empty(tmp_path / "nothing")


def test_nothing_is_written(many: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in sorted(many.rglob("*"))]

    before = state()
    content_node(many)
    assert state() == before


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "x", Path("\0"), Path("/dev/null"), Path("/proc/self/mem")):
        with pytest.raises(MrvError):
            content_node(path)
