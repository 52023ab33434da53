# SPDX-License-Identifier: MIT
"""A registry in this process on SQLite and on a real PostgreSQL, and what is submitted to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from mrv_core.errors import BackendUnavailableError
from mrv_core.mrv.record import MrvRecord, generate_mrv_id
from mrv_devnet.postgres import PostgresServer
from mrv_service import tokens
from mrv_service.app import create_app
from mrv_service.settings import service_settings
from mrv_service.tokens import Scope
from tests.mrv.making import record_value, steady


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL of the tests' own; a missing one fails in continuous integration and skips elsewhere."""
    try:
        server = PostgresServer(durable=False)
    except BackendUnavailableError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def new_database(postgres: PostgresServer) -> Callable[[], str]:
    """Make empty databases on the PostgreSQL; they go with it."""
    return postgres.new_database


class Service:
    """A registry, and clients of it that may and may not write."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = service_settings({"base_dir": folder, "rate_per_minute": 1_000_000, **settings})
        self.app = create_app(self.settings)
        self.database = self.app.state.database
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.client.__enter__()
        self.writer = self.token(Scope.WRITE, Scope.READ)

    def token(self, *scopes: Scope, name: str = "test") -> dict[str, str]:
        """Make a token, and return the header that shows it."""
        return {"Authorization": f"Bearer {tokens.create(self.database, name, scopes)[1]}"}

    def submit(self, data: bytes, **headers: str) -> Any:
        return self.client.post("/api/v1/records", content=data, headers={**self.writer, **headers})

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers={**self.writer, **headers})

    def put(self, path: str, data: bytes, **headers: str) -> Any:
        return self.client.put(f"/api/v1/{path}", content=data, headers={**self.writer, **headers})

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
