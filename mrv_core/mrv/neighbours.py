# SPDX-License-Identifier: MIT
"""Other trackers of this user that count the same machine at the same time: what it uses is in each of their records.

Each keeps a locked file in a folder of the user's, with its id in the first line. One that starts reads the ids of
those that run, and adds its own to their files. The kernel unlocks the files of a process that was killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from mrv_core.files import PRIVATE_FOLDER
from mrv_core.mrv.record import is_mrv_id

_logger = logging.getLogger(__name__)

_MOST_CHARACTERS: Final = 65_536
"""Of a file that is read: some 1500 ids."""
_MOST_IDS: Final = 100
"""Ids in a record; more would not say more."""


class Neighbours:
    """Finds them for one record, and never fails: where nothing can be found out, none is known.

    Args:
        mrv_id: Id of the record.
    """

    def __init__(self, mrv_id: str) -> None:
        self._mrv_id = mrv_id
        self._path = Path()
        self._file: IO[str] | None = None
        self._met: set[str] = set()

    def start(self) -> None:
        """Begin to be known to those that run, and to those that start later."""
        try:
            self._enter(_folder())
        except OSError as error:
            _logger.debug("looking for other trackers: %s", error)

    def stop(self) -> tuple[str, ...]:
        """End, and return the ids of all that ran meanwhile; again, where it is called again."""
        try:
            self._leave()
        except OSError as error:
            _logger.debug("looking for other trackers: %s", error)
        return self._known()

    def so_far(self) -> tuple[str, ...]:
        """Return the ids of those that ran until now."""
        try:
            if self._file is not None:
                self._met.update(_ids(self._file)[1:])
        except (OSError, ValueError) as error:  # closed meanwhile
            _logger.debug("looking for other trackers: %s", error)
        return self._known()

    def _known(self) -> tuple[str, ...]:
        return tuple(sorted(self._met - {self._mrv_id})[:_MOST_IDS])

    def _enter(self, folder: Path) -> None:
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._path = folder / f".{name}"
        self._file = self._path.open("x+", encoding="ascii")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(f"{self._mrv_id}\n")
        self._file.flush()
        self._path = self._path.rename(folder / name)  # only now: nobody is to take it for one that was left behind
        for path in folder.iterdir():
            if not path.name.startswith(".") and path.name != name:
                with suppress(OSError):  # it has just ended, or is something else
                    self._meet(path)

    def _meet(self, path: Path) -> None:
        try:
            with path.open("r+", encoding="ascii", errors="replace") as other:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)  # nobody holds it any more
        except BlockingIOError:
            with path.open("a+", encoding="ascii", errors="replace") as other:
                other.write(f"{self._mrv_id}\n")
                self._met.update(_ids(other)[:1])

    def _leave(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            self._path.unlink(missing_ok=True)
            self._met.update(_ids(file)[1:])


def _folder() -> Path:
    """Return the folder; nobody else may have made it."""
    folder = Path(tempfile.gettempdir(), f"mrv-trackers-{os.getuid()}")
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not ours alone")
    return folder


def _ids(file: IO[str]) -> list[str]:
    file.flush()
    file.seek(0)
    return [line for line in file.read(_MOST_CHARACTERS).splitlines() if is_mrv_id(line)]
