# SPDX-License-Identifier: MIT
"""User and password of a node's RPC, from wherever the settings say."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.errors import BackendUnavailableError, ConfigurationError, FormatError, StorageError
from mrv_core.files import read_limited

MAX_SECRET_BYTES: Final = 4096
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_credentials(settings: BitcoinSettings) -> tuple[str | None, str | None]:
    """Return user and password; both None where the settings name neither, or have them in the URL.

    Raises:
        ConfigurationError: a password file that is missing, unreadable, or open to others.
        BackendUnavailableError: there is no cookie, so the node is not running.
    """
    if settings.cookie_file is not None:
        return _read_cookie(Path(os.path.expanduser(settings.cookie_file)))
    if settings.rpc_password_file is not None:
        return settings.rpc_user, _read_password(Path(os.path.expanduser(settings.rpc_password_file)))
    password = settings.rpc_password
    return settings.rpc_user, None if password is None else password.get_secret_value()


def _read_password(path: Path) -> str:
    try:
        password = read_limited(path, MAX_SECRET_BYTES).decode().rstrip("\r\n")
        mode = path.stat().st_mode
    except (StorageError, FormatError) as error:
        raise ConfigurationError(f"rpc_password_file: {error.message}", hint=error.hint) from error
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"rpc_password_file {path} cannot be read as text") from None
    if mode & _OTHERS:
        raise ConfigurationError(f"rpc_password_file {path} can be read by others", hint=f"run: chmod 600 {path}")
    if not password:
        raise ConfigurationError(f"rpc_password_file {path} is empty")
    return password


def _read_cookie(path: Path) -> tuple[str, str]:
    try:
        user, colon, password = read_limited(path, MAX_SECRET_BYTES).decode().strip().partition(":")
    except (StorageError, FormatError) as error:
        raise BackendUnavailableError(
            f"cookie_file: {error.message}",
            hint="the node writes it while it runs; start the node, or correct the path",
            retryable=True,
        ) from error
    except UnicodeDecodeError:
        user, colon, password = "", "", ""
    if not (user and colon and password):
        raise ConfigurationError(f"cookie_file {path} is no cookie of a node", hint="it holds one line, user:password")
    return user, password
