# SPDX-License-Identifier: MIT
"""Our own files: written whole or not at all, readable by their owner only, read within limits."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from mrv_core.errors import FormatError, StorageError

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700

_HINTS: Final = {
    errno.ENOSPC: "free some space and run the command again; nothing half-written was kept",
    errno.EDQUOT: "free some space and run the command again; nothing half-written was kept",
    errno.EACCES: "check the permissions of the folder, or choose another one",
    errno.EPERM: "check the permissions of the folder, or choose another one",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "check the path",
    errno.EEXIST: "a file is in the way; remove it or choose another path",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "the path is a folder; name a file",
    errno.ELOOP: "the path is a symbolic link; remove it or choose another path",
    errno.EFBIG: "the file would be larger than the limit set for this process",
}


def storage_error(action: str, path: Path | str, error: OSError | ValueError) -> StorageError:
    """Build the one-line error for a failed file operation: what, where, why, what to do.

    A `ValueError` is Python's refusal of a path that no system call takes: a NUL byte, a lone surrogate.
    """
    if isinstance(error, OSError) and error.errno:
        reason, hint = os.strerror(error.errno), _HINTS.get(error.errno)
    else:
        reason, hint = str(error), "check the path"
    text = str(path)
    return StorageError(f"cannot {action} {text if text.isprintable() else ascii(text)}: {reason}", hint=hint)


def make_folder(path: Path) -> Path:
    """Create a folder and its parents, the new ones with mode 0700 whatever the umask, and return it.

    Raises:
        StorageError: no permission, no space, or a file is in the way.
    """
    try:
        # Not mkdir(parents=True), which gives new parents the mode that the umask leaves: 0777 at worst.
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except (OSError, ValueError) as error:
        raise storage_error("create the folder", path, error) from error
    return path


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that after a crash it holds either the old bytes or all of the new ones; mode 0600.

    The bytes go to a new file beside it, are synced, and replace the name, so a symbolic link planted at
    `path` is replaced and never followed.

    Raises:
        StorageError: no permission, no space, or the folder is missing.
    """
    try:
        temporary = _write_beside(path, data)
        try:
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except (OSError, ValueError) as error:
        raise storage_error("write", path, error) from error


def write_new(path: Path, data: bytes) -> bool:
    """Write a file as `write_atomic` does, unless it is there; of several processes that try, exactly one writes it.

    Returns:
        Whether this process did.

    Raises:
        StorageError: no permission, no space, the folder is missing, or its file system has no hard links.
    """
    try:
        temporary = _write_beside(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except (OSError, ValueError) as error:
        raise storage_error("write", path, error) from error
    return True


def _write_beside(path: Path, data: bytes) -> Path:
    """Write a new file beside another and sync it; return its name, or leave nothing behind."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(path: Path) -> None:
    """Make a new or renamed name in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_limited(path: Path, max_bytes: int, *, follow: bool = True) -> bytes:
    """Read a regular file of at most `max_bytes`; never waits on a FIFO or a device.

    Args:
        path: The file.
        max_bytes: Refuse larger files.
        follow: Whether the file itself may be a symbolic link.

    Raises:
        StorageError: missing, unreadable, not a regular file, or a link that must not be followed.
        FormatError: larger than allowed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise StorageError(f"cannot read {path}: not a regular file", hint="check the path")
            data = b"" if state.st_size > max_bytes else _read(descriptor, max_bytes + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise storage_error("read", path, error) from error
    if state.st_size > max_bytes or len(data) > max_bytes:
        raise FormatError(f"{path}: more than the {max_bytes} bytes allowed")
    return data


def _read(descriptor: int, size: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(size)
