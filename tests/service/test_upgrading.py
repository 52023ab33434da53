# SPDX-License-Identifier: MIT
"""Registries that earlier versions made, brought up to date: nothing is lost, and everything goes on.

`golden/registry-<revision>.<database>.sql` is the dump of a database that the version of that revision made, and the
`.json` beside it what that version answered, and a token.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import make_url

from mrv_service import database as database_module
from mrv_service.database import Database
from mrv_service.tables import metadata

from .conftest import Service, record

GOLDEN = Path(__file__).with_name("golden")
DUMPS = sorted(path.name.removesuffix(".sql") for path in GOLDEN.glob("registry-*.sql"))


@pytest.fixture(params=DUMPS)
def dump(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(dump: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Restore a dump, and return the URL of the database."""
    script = (GOLDEN / f"{dump}.sql").read_text(encoding="utf-8")
    if dump.endswith(".sqlite"):
        path = tmp_path / "registry.sqlite3"
        with sqlite3.connect(path) as connection:
            connection.executescript(script)
        connection.close()
        return f"sqlite:///{path}"
    made: str = request.getfixturevalue("new_database")()
    parsed = make_url(made)
    with psycopg.connect(host=parsed.query["host"], user=parsed.username, dbname=parsed.database) as server:
        server.execute(script.encode())
    return made


def test_an_old_registry_goes_on(dump: str, url: str, tmp_path: Path) -> None:
    known = json.loads((GOLDEN / f"{dump}.json").read_text(encoding="utf-8"))
    service = Service(tmp_path / "registry", database_url=SecretStr(url))
    try:
        assert service.client.get("/readyz").status_code == 200
        for path, answer in known["answers"].items():
            assert service.client.get(f"/api/v1/{path}").text == answer, path
        listed: list[dict[str, Any]] = json.loads(known["answers"]["records?limit=10"])["items"]
        for each in listed:
            content = service.get(f"records/{each['mrv_id']}/content").content
            assert hashlib.sha256(content).hexdigest() == each["hash"]
        assert service.get("log").json()["size"] == len(listed) + len(service.get("bundles").json()["items"])
        holder = {"Authorization": f"Bearer {known['token']}"}
        first = listed[-1]["mrv_id"]
        again = service.client.post(
            "/api/v1/records",
            content=service.get(f"records/{first}/content").content,
            headers={**holder, "Idempotency-Key": f"key-{first}"},
        )
        assert (again.status_code, again.json()["mrv_id"]) == (200, first)
        new = record()
        assert service.client.post("/api/v1/records", content=new.to_bytes(), headers=holder).status_code == 201
        assert service.client.post(f"/api/v1/records/{first}/verification", headers=holder).status_code == 202
    finally:
        service.close()


def test_an_upgraded_database_is_like_a_new_one(url: str, new_service: Callable[..., Service]) -> None:
    database = Database(url)
    assert not database.is_current()
    database.upgrade()
    assert database.is_current()
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.upgrade()  # again changes nothing
    database.close()


def test_each_revision_but_the_newest_has_its_dumps() -> None:
    migrations = Path(database_module.__file__).with_name("migrations")
    revisions = [each.revision for each in ScriptDirectory(str(migrations)).walk_revisions()]
    assert {f"registry-{revision}.{kind}" for revision in revisions[1:] for kind in ("sqlite", "postgresql")} == set(
        DUMPS
    )
