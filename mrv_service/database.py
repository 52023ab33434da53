# SPDX-License-Identifier: MIT
"""The database of the registry: SQLite in a folder, or PostgreSQL by URL, brought up to date by Alembic."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import psycopg
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, func, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mrv_core.errors import BackendUnavailableError, ConfigurationError, StorageError
from mrv_core.files import make_folder, storage_error

CONNECTIONS: Final = 16
"""Connections that one process has at most; a server works on as many requests at once."""
_BUSY_TIMEOUT_MS = 10_000
_POLL_S = 0.002
_RESTED_S = 5.0
_UPGRADE_LOCK = 0x6D7276  # ours, for one upgrade at a time on PostgreSQL
_MIGRATIONS = Path(__file__).with_name("migrations")


class Database:
    """One database. Thread-safe.

    Args:
        url: SQLAlchemy URL.

    Raises:
        ConfigurationError: the URL names no database that can be used.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise ConfigurationError("database_url names neither SQLite nor PostgreSQL")
            if parsed.get_backend_name() == "sqlite":
                if parsed.database in (None, "", ":memory:"):
                    raise ConfigurationError("database_url names no file, and memory is gone with the process")
                make_folder(Path(str(parsed.database)).parent)
            self.engine: Engine = create_engine(
                parsed,
                hide_parameters=True,
                poolclass=QueuePool,
                pool_size=CONNECTIONS,
                max_overflow=0,  # those beyond the size would be opened and closed for each request
            )
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
            # Their texts repeat the URL, which may hold a password.
            raise ConfigurationError(
                "database_url cannot be used",
                hint="write it like postgresql+psycopg://user@host/name, and install psycopg",
            ) from None
        self._turn: _Turn | None = None
        self._writing: AbstractContextManager[Any] = nullcontext()
        if self.is_sqlite:
            self._writing = self._turn = _Turn(Path(str(parsed.database)).parent)
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin)
        else:
            event.listen(self.engine, "checkin", _rests)
            event.listen(self.engine, "checkout", _check_rested)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that changes something; it is committed at the end.

        Raises:
            BackendUnavailableError: the database does not answer.
            StorageError: the embedded database cannot be read or written.
        """
        with self._writing, self._transaction(mrv_begin="BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading; each statement sees what is committed then. Raises what `write` raises."""
        # Without a transaction, whose beginning and end would be two more questions to the database.
        options = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        with self._transaction(**options) as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction for reading whose statements all see the same state. Raises what `write` raises."""
        options = {"mrv_begin": "BEGIN"} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._transaction(**options) as connection:
            yield connection

    @contextmanager
    def _transaction(self, **options: Any) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            if isinstance(error, (IntegrityError, DataError, ProgrammingError)) and not error.connection_invalidated:
                raise  # of what was asked, not of the database
            raise self._unavailable(error) from None
        except PoolTimeoutError:
            raise BackendUnavailableError("the registry's database has too much to do", retryable=True) from None

    def upgrade(self) -> None:
        """Bring the tables up to date.

        Raises:
            BackendUnavailableError, StorageError: as of `write`.
            ConfigurationError: they are those of a later version.
        """
        with self.write() as connection:
            if not self.is_sqlite:  # which has the one lock for writing
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            try:
                command.upgrade(_alembic(connection), "head")
            except CommandError:
                raise ConfigurationError(
                    "the registry's database has tables that this version does not know",
                    hint="install the version that made them, or a later one",
                ) from None

    def is_current(self) -> bool:
        """Tell whether the tables are those of this version.

        Raises:
            BackendUnavailableError, StorageError: as of `write`.
        """
        with self.read() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        return found == ScriptDirectory(str(_MIGRATIONS)).get_current_head()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
        if self._turn is not None:
            self._turn.close()

    def _unavailable(self, error: SQLAlchemyError) -> BackendUnavailableError | StorageError:
        if self.is_sqlite:
            return StorageError(f"the registry's database: {getattr(error, 'orig', None)}")
        # The text of a driver's error may hold host, user and more.
        return BackendUnavailableError("the registry's database does not answer", retryable=True)


def _alembic(connection: Connection) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, see below
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    """Begin as the options say. A writer takes its lock at once: had it read first, it could not wait for another."""
    statement = connection.get_execution_options().get("mrv_begin")
    if statement is not None:
        connection.exec_driver_sql(statement)


class _Turn:
    """Whose turn it is to write to SQLite, of all threads and processes; a lock on its folder, which needs no file.

    SQLite has one lock for it, and whoever does not get that sleeps, longer each time; here they wait in a row.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = threading.Lock()
        self._file: int | None = None

    def __enter__(self) -> None:
        ends = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
        if not self._thread.acquire(timeout=_BUSY_TIMEOUT_MS / 1000):
            raise _busy()
        try:
            if self._file is None:
                self._file = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            while not _is_locked(self._file):
                if time.monotonic() > ends:
                    raise _busy()
                time.sleep(_POLL_S)
        except OSError as error:
            self._thread.release()
            raise storage_error("lock", self._folder, error) from error
        except StorageError:
            self._thread.release()
            raise

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def close(self) -> None:
        """Close the folder; it is opened again where it is needed."""
        with self._thread:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _is_locked(file: int) -> bool:
    """Take a lock of another process if it is free, and tell whether it was."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy() -> StorageError:
    return StorageError("the registry's database: somebody else has been writing for too long", hint="try it again")


def _rests(_connection: Any, record: Any) -> None:
    record.info["rests_since"] = time.monotonic()


def _check_rested(connection: Any, record: Any, _proxy: Any) -> None:
    """Ask a connection that has rested whether it is alive still; to ask each time would double what is asked."""
    if time.monotonic() - record.info.get("rests_since", time.monotonic()) < _RESTED_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error  # the pool takes another one
