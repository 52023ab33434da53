# SPDX-License-Identifier: MIT
"""A registry in this process on SQLite and on a real PostgreSQL, and what is submitted to it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from mrv_core.mrv.record import MrvRecord, generate_mrv_id
from mrv_service import tokens
from mrv_service.app import create_app
from mrv_service.settings import service_settings
from mrv_service.tokens import Scope
from tests.mrv.making import record_value, steady


def _program(name: str) -> Path:
    """Find one of PostgreSQL's programs, which Debian keeps out of the path."""
    found = [Path(each) for each in [shutil.which(name)] if each]
    found += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    if not found:
        why = f"{name} is not installed: apt-get install postgresql"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    return found[0]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Start a PostgreSQL of the tests' own, which takes connections through a socket in a folder alone."""
    # Not in pytest's folders: another run that starts takes away the permissions that other users have on them.
    with tempfile.TemporaryDirectory(prefix="mrv-postgres-") as name:
        folder = Path(name)
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
            user = {"user": account.pw_uid, "group": account.pw_gid}
        quiet: dict[str, Any] = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, **user}
        data = folder / "data"
        subprocess.run([_program("initdb"), "-D", data, "-U", "mrv", "-A", "trust", "--no-sync"], **quiet)
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        log = ["-l", folder / "log", "-w"]
        subprocess.run([_program("pg_ctl"), "start", "-D", data, "-o", options, *log], **quiet)
        try:
            yield f"postgresql+psycopg://mrv@/postgres?host={folder}"
        finally:
            subprocess.run([_program("pg_ctl"), "stop", "-D", data, "-m", "immediate"], **quiet)


@pytest.fixture
def new_database(postgres: str) -> Iterator[Callable[[], str]]:
    """Make empty databases on the PostgreSQL; they go with it."""
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT")

    def make() -> str:
        name = f"registry_{secrets.token_hex(8)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        return postgres.replace("/postgres?", f"/{name}?")

    yield make
    admin.dispose()


class Service:
    """A registry, and clients of it that may and may not write."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = service_settings({"base_dir": folder, "rate_per_minute": 1_000_000, **settings})
        self.app = create_app(self.settings)
        self.database = self.app.state.database
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.client.__enter__()
        self.writer = self.token(Scope.WRITE, Scope.READ)

    def token(self, *scopes: Scope) -> dict[str, str]:
        """Make a token, and return the header that shows it."""
        return {"Authorization": f"Bearer {tokens.create(self.database, 'test', scopes)[1]}"}

    def submit(self, data: bytes, **headers: str) -> Any:
        return self.client.post("/api/v1/records", content=data, headers={**self.writer, **headers})

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers={**self.writer, **headers})

    def put(self, path: str, data: bytes) -> Any:
        return self.client.put(f"/api/v1/{path}", content=data, headers=self.writer)

    def close(self) -> None:
        self.client.__exit__()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Make registries on one database."""
    made: list[Service] = []
    given: dict[str, Any] = {}
    if request.param == "postgresql":
        from pydantic import SecretStr

        given["database_url"] = SecretStr(request.getfixturevalue("new_database")())

    def make(**settings: Any) -> Service:
        service = Service(tmp_path / "registry", **{**given, **settings})
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(new_service: Callable[..., Service]) -> Service:
    return new_service()


def record(mrv_id: str | None = None, **changes: Any) -> MrvRecord:
    """Return a record with numbers that agree with each other."""
    value = record_value(steady(20), mrv_id=mrv_id or generate_mrv_id(), **changes)
    return MrvRecord.from_json(value, what="record")
