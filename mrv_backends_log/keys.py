# SPDX-License-Identifier: MIT
"""The log's key files: `log.key`, secret and for its owner only, and `log.vkey`, public."""

from __future__ import annotations

import os
import secrets
import stat
from hashlib import sha256
from pathlib import Path
from typing import Final

from mrv_backends_log.note import SigningKey, VerifierKey
from mrv_core.errors import BackendUnavailableError, ConfigurationError, FormatError, StorageError
from mrv_core.files import read_limited, write_atomic

_MAX_KEY_BYTES: Final = 1024


class KeyFiles:
    """The two key files in a log's folder.

    Args:
        folder: The log's folder; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.secret = folder / "log.key"
        self.public = folder / "log.vkey"

    def create(self, origin: str | None) -> None:
        """Make a key. The secret file is written last: where it is, the log has been set up.

        Args:
            origin: The log's name; by default `mrv.local/log/` and 16 digits of the public key's SHA-256.

        Raises:
            StorageError: the files cannot be written.
        """
        key = SigningKey(origin or "", secrets.token_bytes(32))
        if not origin:
            key = SigningKey(f"mrv.local/log/{sha256(key.verifier.public).hexdigest()[:16]}", key.seed)
        write_atomic(self.public, f"{key.verifier}\n".encode())
        write_atomic(self.secret, f"{key.to_text()}\n".encode())

    def exist(self) -> bool:
        """Whether the log has been set up."""
        return os.path.lexists(self.secret)

    def load_public(self) -> VerifierKey:
        """Read the verifier key.

        Raises:
            BackendUnavailableError: it is not there, cannot be read, or is no key.
        """
        try:
            return VerifierKey.parse(_read_line(self.public))
        except (StorageError, FormatError) as error:
            hint = error.hint or "restore the file, or set verifier_key to the log's key"
            raise BackendUnavailableError(f"no verifier key of the log: {error.message}", hint=hint) from error

    def load_secret(self) -> SigningKey:
        """Read the signing key.

        Raises:
            BackendUnavailableError: it is not there, cannot be read, or is no key.
            ConfigurationError: others than its owner may read it, or it is not ours.
        """
        try:
            status = self.secret.lstat()
        except OSError as error:
            raise BackendUnavailableError(
                f"the log's signing key {self.secret} is not there",
                hint="restore the file; nothing else can sign for the log",
            ) from error
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise ConfigurationError(
                f"the log's signing key {self.secret} must be a file of yours that nobody else can read",
                hint=f"chmod 600 {self.secret}",
            )
        try:
            return SigningKey.parse(_read_line(self.secret))
        except (StorageError, FormatError) as error:
            raise BackendUnavailableError(f"cannot use the log's signing key: {error.message}") from error


def _read_line(path: Path) -> str:
    try:
        return read_limited(path, _MAX_KEY_BYTES).decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8") from error
