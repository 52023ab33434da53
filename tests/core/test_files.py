# SPDX-License-Identifier: MIT
"""Our own files are private, whole, and read within limits; every refusal says what and where."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mrv_core.errors import FormatError, StorageError
from mrv_core.files import make_folder, read_limited, storage_error, write_atomic


@pytest.fixture(params=[0o000, 0o022, 0o077])
def any_umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


# Writing.


@pytest.mark.usefixtures("any_umask")
def test_files_and_new_folders_belong_to_their_owner_only(tmp_path):
    folder = make_folder(tmp_path / "a" / "b" / "c")
    write_atomic(folder / "file", b"content")
    assert mode(folder / "file") == 0o600
    assert [mode(path) for path in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3


def test_an_existing_folder_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    assert make_folder(tmp_path) == tmp_path
    assert mode(tmp_path) == 0o755


def test_a_file_is_replaced_whole_and_gets_the_private_mode(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    path.chmod(0o666)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", ["existing", "dangling"])
def test_a_planted_symlink_is_replaced_and_never_followed(tmp_path, kind):
    victim = tmp_path / "victim"
    if kind == "existing":
        victim.write_bytes(b"precious")
    path = tmp_path / "out" / "report.json"
    make_folder(path.parent)
    path.symlink_to(victim)
    write_atomic(path, b"ours")
    assert not path.is_symlink()
    assert path.read_bytes() == b"ours"
    assert victim.exists() is (kind == "existing")
    if kind == "existing":
        assert victim.read_bytes() == b"precious"


def test_a_folder_in_the_way_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*/taken: Is a directory") as failure:
        write_atomic(tmp_path / "taken", b"")
    assert failure.value.hint == "the path is a folder; name a file"
    assert names(tmp_path) == ["taken"]


def test_a_missing_folder_and_a_file_in_the_way_are_one_line(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*: No such file or directory"):
        write_atomic(tmp_path / "missing" / "file", b"")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="File exists"):
        make_folder(tmp_path / "file" / "below")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"cannot create the folder .*/link: File exists"):
        make_folder(tmp_path / "link")


@pytest.mark.parametrize("bad", ["nul\0byte", "lone\ud800surrogate"])
def test_a_path_that_no_system_call_takes_is_one_printable_line(tmp_path, bad):
    for attempt in (
        lambda: write_atomic(tmp_path / bad, b""),
        lambda: read_limited(tmp_path / bad, 10),
        lambda: make_folder(tmp_path / bad),
    ):
        with pytest.raises(StorageError) as failure:
            attempt()
        assert failure.value.message.isprintable()
        assert failure.value.hint == "check the path"


@pytest.mark.parametrize("path", [Path("/"), Path()])
def test_a_path_without_a_name_cannot_be_written(path):
    with pytest.raises(StorageError, match="cannot write"):
        write_atomic(path, b"")


def test_an_error_without_a_number_keeps_its_text():
    assert str(storage_error("lock", "x", OSError("odd"))) == "cannot lock x: odd"


def test_an_interrupted_write_leaves_the_old_bytes_and_no_temporary_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_failed_sync_of_the_folder_is_told(tmp_path, monkeypatch):
    real, seen = os.fsync, []

    def fail_on_the_second(descriptor: int) -> None:
        seen.append(descriptor)
        if len(seen) == 2:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail_on_the_second)
    with pytest.raises(StorageError, match="Input/output error"):
        write_atomic(tmp_path / "file", b"new")


def test_a_file_beyond_the_process_limit_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StorageError, match="File too large") as failure:
            write_atomic(path, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failure.value.hint is not None
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


# What root is not stopped by needs a mount of its own.

needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="no user namespaces here",
)


def run_on_mount(mount: str, program: str, folder: Path) -> str:
    """Run a Python program in a namespace where `mount` has been done; return what it printed."""
    command = f'{mount} && exec "$1" -c "$2" "$3"'
    arguments = ["unshare", "-rm", "sh", "-ec", command, "sh", sys.executable, textwrap.dedent(program), str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_mounts
def test_a_full_disk_leaves_the_old_bytes_and_says_what_to_do(tmp_path):
    program = """
        import sys
        from pathlib import Path
        from mrv_core.errors import StorageError
        from mrv_core.files import write_atomic
        folder = Path(sys.argv[1])
        write_atomic(folder / "file", b"old")
        try:
            write_atomic(folder / "file", bytes(200_000))
        except StorageError as error:
            print(error.message)
            print(error.hint)
        print((folder / "file").read_bytes(), [path.name for path in folder.iterdir()])
    """
    told = run_on_mount('mount -t tmpfs -o size=64k none "$3"', program, tmp_path).splitlines()
    assert told[0] == f"cannot write {tmp_path}/file: No space left on device"
    assert told[1].startswith("free some space")
    assert told[2] == "b'old' ['file']"


@needs_mounts
def test_a_read_only_file_system_is_told(tmp_path):
    program = """
        import sys
        from pathlib import Path
        from mrv_core.errors import StorageError
        from mrv_core.files import make_folder, write_atomic
        for attempt in (lambda path: write_atomic(path, b""), make_folder):
            try:
                attempt(Path(sys.argv[1]) / "new")
            except StorageError as error:
                print(error.message, "|", error.hint)
    """
    mount = 'mount --bind "$3" "$3" && mount -o remount,ro,bind "$3"'
    told = run_on_mount(mount, program, tmp_path).splitlines()
    assert told == [
        f"cannot write {tmp_path}/new: Read-only file system | the file system is read-only; choose another folder",
        f"cannot create the folder {tmp_path}/new: Read-only file system"
        " | the file system is read-only; choose another folder",
    ]


# Reading.


def test_a_file_up_to_the_limit_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(FormatError, match=r"file: more than the 4 bytes allowed"):
        read_limited(path, 4)


def test_a_file_whose_size_the_system_does_not_know_is_limited_too():
    status = Path("/proc/self/status")
    assert status.stat().st_size == 0
    assert read_limited(status, 100_000).startswith(b"Name:")
    with pytest.raises(FormatError, match="more than the 10 bytes"):
        read_limited(status, 10)


def test_a_huge_sparse_file_is_refused_unread(tmp_path):
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(FormatError, match="more than the 1000 bytes"):
        read_limited(path, 1000)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        before = open_files()
        for path in (tmp_path / "fifo", tmp_path / "folder", tmp_path / "socket", Path("/dev/zero")):
            with pytest.raises(StorageError, match=f"cannot read {path}: "):
                read_limited(path, 10)
        assert open_files() == before


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read .*: No such file or directory") as failure:
        read_limited(tmp_path / "missing", 10)
    assert failure.value.hint == "check the path"
