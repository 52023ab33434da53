# SPDX-License-Identifier: MIT
"""What the commands of a registry share: settings, database, and what to say where its libraries are missing."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mrv_core.errors import ConfigurationError

if TYPE_CHECKING:
    from mrv_service.database import Database
    from mrv_service.settings import ServiceSettings

_DATABASE_VARIABLE: Final = "MRV_DATABASE_URL"
"""Environment variable with the database's URL, which may hold a password."""

BaseOption = Annotated[
    Path, typer.Option("--base-dir", metavar="DIR", help="Folder of the embedded database.", readable=False)
]


@contextmanager
def needed() -> Iterator[None]:
    """Name the extra where its libraries are missing.

    Raises:
        ConfigurationError: one is.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"the registry needs {error.name}", hint="install the extra: pip install 'mrv-provenance[service]'"
        ) from error


def settings_of(base_dir: Path, **given: Any) -> ServiceSettings:
    """Return the settings that the command line and the environment give.

    Raises:
        ConfigurationError: one is wrong, or the extra is missing.
    """
    with needed():
        from pydantic import SecretStr

        from mrv_service.settings import service_settings
    url = os.environ.get(_DATABASE_VARIABLE)
    return service_settings({"base_dir": base_dir, "database_url": SecretStr(url) if url else None, **given})


def database_of(base_dir: Path) -> Database:
    """Open the database, and bring it up to date.

    Raises:
        ConfigurationError: as of `settings_of`, or the URL cannot be used.
        BackendError, StorageError: it does not answer, or cannot be read or written.
    """
    settings = settings_of(base_dir)
    with needed():
        from mrv_service.database import Database
    database = Database(settings.url)
    database.upgrade()
    return database


def process_name() -> str:
    """Return a name of this process for people, as long as the database takes it."""
    return f"{socket.gethostname()[:50]}:{os.getpid()}"


def stop_on_signals() -> threading.Event:
    """Return an event that is set when this process is asked to end, so that it ends after what it is at."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
