# SPDX-License-Identifier: MIT
"""Remembers the newest checkpoint seen, outside the log's own folder.

A log that was put back to an older state is consistent in itself; only somebody who remembers can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrv_backends_log.checkpoint import Checkpoint
from mrv_backends_log.evidence import open_checkpoint
from mrv_backends_log.note import MAX_NOTE_CHARACTERS, VerifierKey
from mrv_core.errors import BackendUnavailableError, FormatError, StorageError, VerificationError
from mrv_core.files import PRIVATE_FILE, make_folder, read_limited, storage_error, write_atomic


class Witness:
    """One remembered checkpoint, kept as the signed note that it came in.

    Args:
        path: The file; need not exist.
        timeout_s: How long to wait for another process that is adding to the log.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self._timeout_s = timeout_s

    def exists(self) -> bool:
        """Whether a checkpoint has been remembered.

        Raises:
            BackendUnavailableError: that cannot be seen.
        """
        try:
            self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._unusable(storage_error("read", self.path, error)) from error
        return True

    def newest(self, key: VerifierKey) -> Checkpoint | None:
        """Return the remembered checkpoint, or None where there is none.

        Whoever compares it with the log must read it first: it is written after the log, so it is never ahead.

        Raises:
            BackendUnavailableError: it cannot be read.
            VerificationError: it is another log's, or signed by another key.
        """
        if not self.exists():
            return None
        try:
            return open_checkpoint(read_limited(self.path, MAX_NOTE_CHARACTERS).decode("utf-8"), key)
        except (StorageError, FormatError, UnicodeDecodeError) as error:
            raise self._unusable(error) from error
        except VerificationError as error:
            raise VerificationError(
                f"the log has been replaced since {self.path} was written: {error.message}",
                hint="restore the log; only if you replaced it yourself, remove that file",
            ) from error

    def remember(self, note: str, key: VerifierKey) -> None:
        """Keep a checkpoint that has been checked, unless one as new is kept already. Call it under `lock`.

        Raises:
            StorageError: the file cannot be written.
            MrvError: whatever `newest` raises.
        """
        seen = self.newest(key)
        if seen is None or seen.size < open_checkpoint(note, key).size:
            write_atomic(self.path, note.encode("utf-8"))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from adding to the log between reading the remembered checkpoint and replacing it.

        Raises:
            StorageError: the lock file cannot be created.
            BackendUnavailableError: another process holds it for too long.
        """
        import filelock  # an expensive import that reading never needs

        make_folder(self.path.parent)
        path = self.path.with_name(f"{self.path.name}.lock")
        lock = filelock.FileLock(path, timeout=self._timeout_s, mode=PRIVATE_FILE, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise BackendUnavailableError(
                f"another process has been adding to the log for {self._timeout_s:g} s",
                hint="try again",
                retryable=True,
            ) from error
        except OSError as error:
            raise storage_error("lock", path, error) from error
        try:
            yield
        finally:
            lock.release()

    def _unusable(self, error: Exception) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"the remembered checkpoint {self.path} cannot be used: {error}",
            hint="restore the file; removing it gives up noticing that the log was put back to before it",
        )
