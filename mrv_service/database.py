# SPDX-License-Identifier: MIT
"""The database of the registry: SQLite in a folder, or PostgreSQL by URL, brought up to date by Alembic."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mrv_core.errors import BackendUnavailableError, ConfigurationError, StorageError
from mrv_core.files import make_folder

CONNECTIONS: Final = 16
"""Connections that one process has at most; a server works on as many requests at once."""
_BUSY_TIMEOUT_MS = 10_000
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
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                make_folder(Path(parsed.database).parent)
            is_sqlite = parsed.get_backend_name() == "sqlite"
            self.engine: Engine = create_engine(
                parsed,
                hide_parameters=True,
                poolclass=QueuePool,
                pool_size=CONNECTIONS,
                max_overflow=0,  # those beyond the size would be opened and closed for each request
                pool_pre_ping=not is_sqlite,
            )
        except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
            # Their texts repeat the URL, which may hold a password.
            raise ConfigurationError(
                "database_url cannot be used",
                hint="write it like postgresql+psycopg://user@host/name, and install psycopg",
            ) from None
        # One after another: SQLite has one lock for writing, and whoever does not get it sleeps, longer each time.
        self._writing: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        self._for_writing = self.engine.execution_options(mrv_write=True)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _set_up_sqlite)
            event.listen(self.engine, "begin", _begin)

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
        with self._writing, self._transaction(self._for_writing) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that changes nothing. Raises what `write` raises."""
        with self._transaction(self.engine) as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if error.connection_invalidated or type(error).__name__ == "OperationalError":
                raise self._unavailable(error) from None
            raise
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
    """Take the lock for writing at once: a transaction that read first could not wait for another's end."""
    writes = connection.get_execution_options().get("mrv_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
