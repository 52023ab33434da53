# SPDX-License-Identifier: MIT
"""A PostgreSQL server for tests and benchmarks of the registry: real, empty, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from mrv_core.errors import BackendUnavailableError

_DEBIAN: Final = Path("/usr/lib/postgresql")
"""Where Debian keeps PostgreSQL's programs, by version; they are not in the path."""
_ACCOUNT: Final = "postgres"
"""Account that the server runs as where we are root, which it refuses to be."""


class PostgresServer:
    """A server that takes connections through a socket in its folder alone. A context manager; its data go with it.

    Args:
        durable: Whether it waits for the disk, as a real one does; tests of anything else are faster without.

    Raises:
        BackendUnavailableError: its programs are not installed, or it does not start.
    """

    def __init__(self, *, durable: bool) -> None:
        self._programs = {name: _find(name) for name in ("initdb", "pg_ctl", "psql")}
        self._durable = durable
        self._stack = ExitStack()
        self._folder = Path()
        self._user: dict[str, Any] = {}

    def __enter__(self) -> Self:
        # Not in a folder of pytest's: another run that starts takes away the permissions of other users on them.
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mrv-postgres-")))
        if os.geteuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid}
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "mrv", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder}"
        options += "" if self._durable else " -c fsync=off"
        self._run("pg_ctl", "start", "-D", data, "-o", options, "-l", str(self._folder / "log"), "-w")
        self._stack.callback(self._run, "pg_ctl", "stop", "-D", data, "-m", "immediate")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def new_database(self) -> str:
        """Make an empty database, and return its SQLAlchemy URL."""
        name = f"registry_{secrets.token_hex(8)}"
        self._run("psql", "-h", str(self._folder), "-U", "mrv", "-d", "postgres", "-c", f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://mrv@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603
            [self._programs[program], *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server keeps what it inherits: a pipe would never end
            stderr=subprocess.DEVNULL,
            check=False,
            **self._user,
        )
        if done.returncode != 0:
            raise BackendUnavailableError(f"PostgreSQL's {program} ended with status {done.returncode}")


def _find(name: str) -> str:
    found = [each for each in [shutil.which(name)] if each]
    found += sorted(map(str, _DEBIAN.glob(f"*/bin/{name}")), reverse=True)
    if not found:
        raise BackendUnavailableError(f"{name} is not installed", hint="apt-get install postgresql")
    return found[0]
