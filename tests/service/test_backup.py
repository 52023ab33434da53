# SPDX-License-Identifier: MIT
"""Backing up a registry while it works, and going on from the copy, by the commands of docs/DEPLOYMENT.md."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from mrv_core.config import load_config
from mrv_core.errors import ConfigurationError
from mrv_core.failpoint import WORKER_FAILPOINTS
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.storage import receipts_path
from mrv_core.mrv.verification import verify_record
from mrv_core.registry import Registry as Drivers
from mrv_service import database as database_module
from mrv_service.database import Database
from tests.mrv.making import steady

from .conftest import record

ROOT = Path(__file__).parents[2]
MRV = str(Path(sys.executable).with_name("mrv"))
BUNDLE = (ROOT / "tests" / "bundles" / "golden" / "bundle-1" / "real.mrv.json").read_bytes()
SAMPLES = b"".join(line + b"\n" for line in steady(20).lines)
BATCHED = "worker.batched"
"""Where a worker is killed once it has made a batch, before it anchors it."""


def documented(program: str) -> list[str]:
    """Return the command that the page shows for a program."""
    page = (ROOT / "docs" / "DEPLOYMENT.md").read_text(encoding="utf-8")
    found = re.findall(rf"^\$ ({program} .*)$", page, re.MULTILINE)
    assert found, f"docs/DEPLOYMENT.md shows no {program}"
    return shlex.split(found[0])


def copy_sqlite(file: Path, copies: Path) -> None:
    """Copy a database of SQLite by the command that the page shows; where its program is missing, by its statement."""
    program, shown, statement = documented("sqlite3")
    assert shown == "registry/registry.sqlite3"
    if shutil.which(program):
        subprocess.run([program, file, statement], cwd=copies, check=True)
        return
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement.replace("'", f"'{copies}/", 1))


class Embedded:
    """SQLite in the folder that it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'registry.sqlite3'}"
        self.environment: dict[str, str] = {}

    def back_up(self, copies: Path) -> None:
        copy_sqlite(self.folder / "registry.sqlite3", copies)

    def restored(self, copies: Path, folder: Path) -> Embedded:
        (copy,) = copies.glob("*.sqlite3")
        folder.mkdir(exist_ok=True)
        for name in ("registry.sqlite3", "registry.sqlite3-wal", "registry.sqlite3-shm"):
            (folder / name).unlink(missing_ok=True)
        shutil.copy(copy, folder / "registry.sqlite3")
        return Embedded(folder)


class Postgres:
    """A database of a PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.environment = {"MRV_DATABASE_URL": url}

    def back_up(self, copies: Path) -> None:
        self._run(documented("pg_dump"), copies, make_url(self.url).database)

    def restored(self, copies: Path, _folder: Path) -> Postgres:
        name = f"{make_url(self.url).database}_{os.urandom(4).hex()}"
        for program in ("createdb", "pg_restore"):
            self._run(documented(program), copies, name)
        return Postgres(make_url(self.url).set(database=name).render_as_string())

    def _run(self, command: list[str], folder: Path, name: str | None) -> None:
        if not shutil.which(command[0]):
            why = f"{command[0]} is not installed: apt-get install postgresql"
            pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
        words = [re.sub(r"^(--dbname=)?mrv(_restored)?$", rf"\g<1>{name}", word) for word in command]
        assert words != command
        host = str(make_url(self.url).query["host"])
        subprocess.run(words, cwd=folder, env={**os.environ, "PGHOST": host, "PGUSER": "mrv"}, check=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Embedded | Postgres:
    if request.param == "postgresql":
        return Postgres(request.getfixturevalue("new_database")())
    return Embedded(tmp_path / "registry")


class Registry:
    """A registry of the command line: `mrv serve`, `mrv worker` and `mrv token` on one database."""

    def __init__(self, store: Embedded | Postgres, base_dir: Path, config: Path, client: httpx.Client) -> None:
        self.store = store
        self.base_dir = base_dir
        self.config = config
        self.client = client

    def token(self, *scopes: str) -> dict[str, str]:
        options = [word for scope in scopes for word in ("--scope", scope)]
        done = run("token", "create", "test", *options, "--base-dir", self.base_dir, **self.store.environment)
        return {"Authorization": f"Bearer {done.stdout.strip()}"}

    def work(self, killed_at: str | None = None) -> None:
        """Anchor what waits; or be killed on the way."""
        options = ["--once", "--after", "0", "--base-dir", self.base_dir, "--config", self.config]
        given = {"MRV_FAILPOINT": killed_at} if killed_at else {}
        run("worker", *options, status=-signal.SIGKILL if killed_at else 0, **self.store.environment, **given)

    def submit(self, made: MrvRecord, writer: dict[str, str]) -> int:
        headers = {**writer, "Idempotency-Key": made.hash.hex}
        return self.client.post("records", content=made.to_bytes(), headers=headers).status_code

    def get(self, path: str) -> bytes:
        return self.client.get(path).raise_for_status().content

    def holds(self) -> set[str]:
        """Return the ids of all records, page by page."""
        found: set[str] = set()
        cursor: dict[str, str] = {}
        while True:
            page = self.client.get("records", params=cursor).raise_for_status().json()
            found |= {item["mrv_id"] for item in page["items"]}
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    def require_valid(
        self, made: Iterable[MrvRecord], folder: Path, receipts: Mapping[str, bytes] | None = None
    ) -> None:
        """Check that records verify by what the registry gives out, or with other receipts."""
        folder.mkdir(exist_ok=True)
        known = Drivers.load()
        config = load_config(self.config, registry=known, environment={})
        with BlockchainManager(config, base_dir=folder, registry=known) as manager:
            for each in made:
                path = folder / f"{each.mrv_id}.json"
                path.write_bytes(self.get(f"records/{each.mrv_id}/content"))
                given = self.get(f"records/{each.mrv_id}/receipts") if receipts is None else receipts[each.mrv_id]
                receipts_path(path).write_bytes(given)
                report = verify_record(path, manager=manager)
                assert report.verdict is Verdict.VALID, report.summary


def run(*arguments: object, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [MRV, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Embedded | Postgres, Path], Registry]]:
    """Start registries as processes, which anchor on one log outside; all of them are ended after the test."""
    config = tmp_path / "config.json"
    network = f'{{"driver": "log", "path": "{tmp_path / "outside"}"}}'
    config.write_text(f'{{"blockchain": {{"networks": ["log"], "log": {network}}}}}')
    with ExitStack() as stack:

        def begin(store: Embedded | Postgres, base_dir: Path) -> Registry:
            command = [MRV, "serve", "--port", "0", "--rate", "1000000", "--base-dir", str(base_dir)]
            environment = {**os.environ, **store.environment}
            log = stack.enter_context(open(tmp_path / f"serve-{os.urandom(4).hex()}.log", "w+"))
            process = subprocess.Popen(command, stderr=log, env=environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
            while not (said := re.search(r"http://127.0.0.1:\d+", Path(log.name).read_text())):
                assert process.poll() is None, Path(log.name).read_text()
            client = stack.enter_context(httpx.Client(base_url=f"{said[0]}/api/v1/", timeout=60))
            return Registry(store, base_dir, config, client)

        yield begin


class Submitter:
    """Submits records one after another from a thread, and notes each that was accepted."""

    def __init__(self, registry: Registry, writer: dict[str, str]) -> None:
        self._registry, self._writer = registry, writer
        self._accepted: list[MrvRecord] = []
        self._refused: list[int] = []
        self._end, self._some = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.is_set():
            made = record()
            status = self._registry.submit(made, self._writer)
            if status == 201:
                self._accepted.append(made)
            else:
                self._refused.append(status)
            if len(self._accepted) > 10:
                self._some.set()

    def up_to_now(self) -> list[MrvRecord]:
        assert self._some.wait(60)
        return list(self._accepted)

    def end(self) -> list[MrvRecord]:
        self._end.set()
        self._thread.join()
        assert self._refused == []
        return self._accepted


def entries(tmp_path: Path) -> int:
    """Count what was anchored on the log, from its own file."""
    (file,) = (tmp_path / "outside").rglob("*.sqlite3")
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


@pytest.mark.slow
def test_going_on_from_a_backup_that_was_made_under_load(
    store: Embedded | Postgres, start: Callable[[Embedded | Postgres, Path], Registry], tmp_path: Path
) -> None:
    """SQLite is lost with the journal in its folder; PostgreSQL without, since the worker has a machine of its own."""
    old = start(store, tmp_path / "registry")
    writer, revoked = old.token("read", "write"), old.token("write")
    run("token", "revoke", revoked["Authorization"][11:23], "--base-dir", old.base_dir, **store.environment)

    anchored = [record() for _ in range(3)]
    for each in anchored:
        assert old.submit(each, writer) == 201
    samples = f"records/{anchored[0].mrv_id}/samples"
    assert old.client.put(samples, content=SAMPLES, headers=writer).status_code == 200
    assert old.client.post("bundles", content=BUNDLE, headers=writer).status_code == 201
    old.work()
    batched = [record() for _ in range(2)]
    for each in batched:
        assert old.submit(each, writer) == 201
    assert BATCHED in WORKER_FAILPOINTS
    old.work(killed_at=BATCHED)  # they are in a batch, which nobody has anchored yet
    assert entries(tmp_path) == 1

    submitter = Submitter(old, writer)
    before = submitter.up_to_now()
    copies = tmp_path / "copies"
    copies.mkdir()
    store.back_up(copies)
    after = submitter.end()
    receipts = {each.mrv_id: old.get(f"records/{each.mrv_id}/receipts") for each in anchored}
    old.work()  # what the backup knows nothing of
    assert entries(tmp_path) == 3
    receipts |= {each.mrv_id: old.get(f"records/{each.mrv_id}/receipts") for each in (*batched, *before)}

    fresh = tmp_path / "fresh"
    new = start(store.restored(copies, fresh), fresh)
    if isinstance(store, Postgres):
        fresh.mkdir(exist_ok=True)
        (tmp_path / "journals").mkdir()
        copy_sqlite(tmp_path / "registry" / "journal.sqlite3", tmp_path / "journals")
        (copy,) = (tmp_path / "journals").iterdir()
        shutil.copy(copy, fresh / "journal.sqlite3")

    # Everything that was accepted before the backup began is there, byte by byte.
    known = [*anchored, *batched, *before]
    assert {each.mrv_id for each in known} <= new.holds() <= {each.mrv_id for each in (*known, *after)}
    for each in known:
        assert new.get(f"records/{each.mrv_id}/content") == each.to_bytes()
    for each in anchored:
        assert new.get(f"records/{each.mrv_id}/receipts") == receipts[each.mrv_id]
    assert new.get(samples) == SAMPLES
    assert new.get(f"bundles/{hashlib.sha256(BUNDLE).hexdigest()}/content") == BUNDLE
    new.require_valid(anchored, tmp_path / "out")

    # Its tokens are the same, and its keys: what was submitted before is known, and what came after is new.
    assert new.submit(record(), revoked) == 401
    assert new.submit(anchored[0], writer) == 200
    other = record(anchored[0].mrv_id, training={"epochs": 9, "batch_size": 1, "framework": None})
    assert new.submit(other, writer) == 409
    lost = [each for each in after if each.mrv_id not in new.holds()]
    assert [new.submit(each, writer) for each in lost] == [201] * len(lost)
    later = record()
    assert new.submit(later, writer) == 201

    # The worker goes on. The batch that the backup has is the same one, whose anchor the journal or the log knows.
    new.work()
    assert entries(tmp_path) == 4
    new.require_valid([*known, *lost[:10], later], tmp_path / "out")

    # The anchors that were made after the backup hold as well: whoever fetched those receipts may keep them.
    new.require_valid([*batched, *before], tmp_path / "earlier", receipts)


_LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))
"""


def test_restoring_into_a_later_version_and_going_back(
    store: Embedded | Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start brings a restored database up to date; the version before refuses it, and takes the backup."""
    from alembic.script import ScriptDirectory

    @contextmanager
    def opened(where: Embedded | Postgres) -> Iterator[Database]:
        database = Database(where.url)
        try:
            database.upgrade()
            yield database
        finally:
            database.close()

    with opened(store):
        pass
    copies = tmp_path / "copies"
    copies.mkdir()
    store.back_up(copies)

    now = database_module._MIGRATIONS
    later = tmp_path / "migrations"
    shutil.copytree(now, later, ignore=shutil.ignore_patterns("__pycache__"))
    head = ScriptDirectory(str(now)).get_current_head()
    (later / "versions" / "later.py").write_text(_LATER.format(head=head))
    monkeypatch.setattr(database_module, "_MIGRATIONS", later)
    upgraded = store.restored(copies, tmp_path / "later")
    with opened(upgraded) as database:
        assert database.is_current()
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM later").scalar_one() == 0

    monkeypatch.setattr(database_module, "_MIGRATIONS", now)
    with pytest.raises(ConfigurationError, match="does not know"), opened(upgraded):
        pass
    with opened(store.restored(copies, tmp_path / "back")) as database:
        assert database.is_current()
