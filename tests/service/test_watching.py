# SPDX-License-Identifier: MIT
"""Verifications that clients ask for, the watcher that does them and everything again, and its alarms."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from mrv_core.canonical import canonical_bytes
from mrv_core.config import load_config
from mrv_core.errors import BackendError, ConfigurationError
from mrv_core.failpoint import WATCHER_FAILPOINTS
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict, utc_now
from mrv_core.mrv.record import MrvRecord
from mrv_core.registry import Registry
from mrv_service import gauges, tables
from mrv_service.alarms import Teller, Webhook, alarm_of
from mrv_service.watcher import Watcher
from mrv_service.worker import Pace, Worker
from tests.mrv.making import steady

from .conftest import Service, record

MRV = str(Path(sys.executable).with_name("mrv"))
BUNDLE = (Path(__file__).parents[1] / "bundles" / "golden" / "bundle-1" / "embedded.mrv.json").read_bytes()
LOG = {"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}
ELSEWHERE = load_config(
    {"blockchain": {"networks": ["ipfs"], "ipfs": {"url": "http://127.0.0.1:9", "timeout": 1}}}, environment={}
)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


@dataclass
class Ear:
    """Hears alarms, and can be deaf."""

    column: str = "posted"
    is_deaf: bool = False
    begun: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, begun: Any, ended: Any) -> None:
        if self.is_deaf:
            raise BackendError("nobody hears")
        self.begun += [(each["name"], each["verdict"]) for each in begun]
        self.ended += [(each["name"], each["verdict"]) for each in ended]


class Hook:
    """A server that takes alarms."""

    def __init__(self) -> None:
        self.status = 200
        self.taken: list[tuple[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.taken.append((self.path, body))
                self.send_response(hook.status)
                self.send_header("content-length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/secret-path"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Watch:
    """A registry with what anchors it and what watches it, at a time of the test's."""

    def __init__(self, service: Service, manager: BlockchainManager, tellers: list[Teller]) -> None:
        self.service = service
        self.manager = manager
        self.now = utc_now()
        self.watcher = self.another("watcher", tellers)

    def another(self, name: str, tellers: list[Teller], manager: BlockchainManager | None = None) -> Watcher:
        used = manager or self.manager
        return Watcher(self.service.database, used, Registry.load(), name, DAY, tellers, self.clock)

    def clock(self) -> datetime:
        return self.now

    def anchored(self, count: int = 1) -> list[MrvRecord]:
        """Submit records and anchor them as one batch."""
        made = [record() for _ in range(count)]
        for each in made:
            assert self.service.submit(each.to_bytes()).status_code == 201
        worker = Worker(self.service.database, self.manager, "worker", Pace(count, 0), self.clock)
        while worker.step():
            pass
        return made

    def turn(self, later: timedelta = timedelta(0), watcher: Watcher | None = None) -> None:
        """Let time pass, and the watcher do everything that is due, and tell of it."""
        self.now += later
        used = watcher or self.watcher
        used.enrol()
        while used.verify_next():
            pass
        used.tell()

    def request(self, made: MrvRecord) -> Any:
        asked = self.service.client.post(f"/api/v1/records/{made.mrv_id}/verification", headers=self.service.writer)
        self.now = max(self.now, utc_now())  # the server has a clock of its own
        return asked

    def verdict(self, name: str, kind: str = "records") -> Any:
        return self.service.get(f"{kind}/{name}/verification").json()


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[BlockchainManager]:
    registry = Registry.load()
    config = load_config(LOG, registry=registry)
    with BlockchainManager(config, base_dir=tmp_path / "registry", registry=registry) as made:
        yield made


@pytest.fixture
def watch(service: Service, manager: BlockchainManager, ear: Ear) -> Watch:
    return Watch(service, manager, [ear])


def edit(service: Service, name: str, old: bytes, new: bytes) -> None:
    """Change a record in the database by hand."""
    with service.database.write() as connection:
        row = connection.execute(select(tables.records).where(tables.records.c.mrv_id == name)).one()
        assert old in row.content
        changed = bytes(row.content).replace(old, new, 1)
        connection.execute(update(tables.records).where(tables.records.c.id == row.id).values(content=changed))


def test_a_client_asks_for_a_verification(watch: Watch) -> None:
    (made,) = watch.anchored()
    path = f"records/{made.mrv_id}/verification"
    assert watch.service.get(path).status_code == 404
    asked = watch.request(made)
    assert (asked.status_code, asked.headers["location"]) == (202, f"/api/v1/{path}")
    assert asked.json()["state"] == "waiting"
    assert asked.json()["verdict"] is None
    assert watch.request(made).json() == asked.json()

    assert watch.watcher.verify_next()
    found = watch.service.get(path).json()
    assert (found["state"], found["verdict"]) == ("done", "VALID")
    assert found["report"]["verdict"] == "VALID"
    assert found["report"]["source"] == f"{made.mrv_id}.json"
    assert found["valid_at"] == found["checked_at"]
    assert not watch.watcher.verify_next(), "it is due again tomorrow"


def test_a_request_comes_before_what_is_due(watch: Watch) -> None:
    made = watch.anchored(5)
    watch.watcher.enrol()
    watch.request(made[3])
    assert watch.watcher.verify_next()
    assert watch.verdict(made[3].mrv_id)["verdict"] == "VALID"
    assert watch.service.get(f"records/{made[0].mrv_id}/verification").json()["checked_at"] is None


def test_asking_needs_a_token_and_something_to_verify(watch: Watch) -> None:
    assert watch.service.client.post("/api/v1/records/MRV-none/verification").status_code == 401
    headers = watch.service.writer
    assert watch.service.client.post("/api/v1/records/MRV-none/verification", headers=headers).status_code == 404
    assert watch.service.client.post(f"/api/v1/bundles/{'0' * 64}/verification", headers=headers).status_code == 404
    assert watch.service.get("records/MRV-none/verification").status_code == 404


def test_a_record_that_is_not_anchored_is_no_alarm(watch: Watch, ear: Ear) -> None:
    made = record()
    watch.service.submit(made.to_bytes())
    watch.turn()
    assert watch.service.get(f"records/{made.mrv_id}/verification").status_code == 404
    watch.request(made)
    watch.turn()
    assert watch.verdict(made.mrv_id)["verdict"] == "NOT_FOUND"
    assert ear.begun == []


def test_everything_has_its_turns(watch: Watch, ear: Ear) -> None:
    made = watch.anchored(3)
    watch.service.client.post("/api/v1/bundles", content=BUNDLE, headers=watch.service.writer)
    (bundle,) = watch.service.get("bundles").json()["items"]
    watch.turn()
    first = [watch.verdict(each.mrv_id) for each in made]
    assert {each["verdict"] for each in first} == {"VALID"}
    assert watch.verdict(bundle["hash"], "bundles")["report"]["format"] == "mrv-bundle-report/1"
    watch.turn(timedelta(hours=23))
    assert [watch.verdict(each.mrv_id) for each in made] == first
    watch.turn(timedelta(hours=1))
    assert all(watch.verdict(each.mrv_id)["checked_at"] > first[0]["checked_at"] for each in made)
    assert (ear.begun, ear.ended) == ([], [])


def test_a_record_edited_by_hand_is_an_alarm_until_it_is_right_again(
    watch: Watch, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "_FRESH_S", -1.0)
    made = watch.anchored(2)
    watch.turn()
    edit(watch.service, made[0].mrv_id, b'"batch_size":128', b'"batch_size":129')
    watch.turn(DAY)
    assert ear.begun == [(made[0].mrv_id, "TAMPERED")]
    assert watch.verdict(made[1].mrv_id)["verdict"] == "VALID"
    watch.turn(DAY)
    assert len(ear.begun) == 1, "told once"
    metrics = watch.service.client.get("/metrics").text
    assert 'mrv_verdicts{kind="record",verdict="TAMPERED"} 1.0' in metrics
    assert 'mrv_verdicts{kind="record",verdict="VALID"} 1.0' in metrics
    assert "mrv_alarms 1.0" in metrics
    assert "mrv_verifications_due 0.0" in metrics
    edit(watch.service, made[0].mrv_id, b'"batch_size":129', b'"batch_size":128')
    watch.turn(DAY)
    assert ear.ended == [(made[0].mrv_id, "VALID")]
    assert "mrv_alarms 0.0" in watch.service.client.get("/metrics").text


@pytest.mark.parametrize(
    ("old", "new"), [(b"{", b"["), (b'"mrv_id":"MRV-', b'"mrv_id":"MRW-'), (b'"status":', b'"Status":')]
)
def test_a_record_that_cannot_be_read_any_more(watch: Watch, ear: Ear, old: bytes, new: bytes) -> None:
    (made,) = watch.anchored()
    edit(watch.service, made.mrv_id, old, new)
    watch.turn()
    assert ear.begun == [(made.mrv_id, "TAMPERED")]


def test_a_hash_edited_by_hand(watch: Watch, ear: Ear) -> None:
    (made,) = watch.anchored()
    with watch.service.database.write() as connection:
        connection.execute(update(tables.records).values(hash="not a hash"))
    watch.turn()
    assert ear.begun == [(made.mrv_id, "TAMPERED")]


def test_a_record_deleted_by_hand_is_missed(watch: Watch, ear: Ear) -> None:
    (made,) = watch.anchored()
    watch.turn()
    with watch.service.database.write() as connection:
        for table in (tables.members, tables.records):
            connection.execute(delete(table))
    watch.turn(DAY)
    assert ear.begun == [(made.mrv_id, "NOT_FOUND")]
    assert "not in the registry's database" in watch.verdict(made.mrv_id)["summary"]


def test_receipts_taken_away_by_hand_are_missed(watch: Watch, manager: BlockchainManager, ear: Ear) -> None:
    (made,) = watch.anchored()
    watch.turn()
    with watch.service.database.write() as connection:
        connection.execute(update(tables.batches).values(receipts=b"{}", networks=""))
    watch.turn(DAY)
    assert ear.begun == [(made.mrv_id, "NOT_FOUND")]


def test_a_bundle_edited_by_hand(watch: Watch, ear: Ear) -> None:
    watch.service.client.post("/api/v1/bundles", content=BUNDLE, headers=watch.service.writer)
    (bundle,) = watch.service.get("bundles").json()["items"]
    with watch.service.database.write() as connection:
        connection.execute(update(tables.bundles).values(content=BUNDLE.replace(b"1", b"2", 1)))
    watch.turn()
    assert ear.begun == [(bundle["hash"], "TAMPERED")]


def test_a_network_that_is_away_is_an_alarm_only_when_it_stays_away(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    (made,) = watch.anchored()
    watch.turn()
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        away = watch.another("away", [ear], other)
        watch.turn(DAY, away)
        assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"
        assert ear.begun == []
        watch.turn(timedelta(minutes=15), away)
        watch.turn(DAY, away)
        assert ear.begun == [(made.mrv_id, "UNREACHABLE")]
    watch.turn(DAY)
    assert ear.ended == [(made.mrv_id, "VALID")]


def test_an_alarm_that_nobody_heard_is_told_again(watch: Watch, ear: Ear) -> None:
    """Of more than go into one message, each is told to everybody once, though one of them is deaf for a while."""
    other = Ear(column="logged")
    watcher = watch.another("watcher", [ear, other])
    made = watch.anchored(45)
    for each in made:
        edit(watch.service, each.mrv_id, b'"batch_size":128', b'"batch_size":129')
    ear.is_deaf = True
    with pytest.raises(BackendError):
        watch.turn(watcher=watcher)
    with pytest.raises(BackendError):
        watcher.tell()
    expected = sorted((each.mrv_id, "TAMPERED") for each in made)
    assert (sorted(other.begun), ear.begun) == (expected, [])
    ear.is_deaf = False
    assert watcher.tell() == 3
    assert sorted(ear.begun) == expected
    assert watcher.tell() == 0
    assert len(other.begun) == 45


def test_an_alarm_stays_on_until_it_is_right_again(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    """What cannot be checked any more does not end it."""
    (made,) = watch.anchored()
    watch.turn()
    with watch.service.database.write() as connection:
        kept = connection.execute(select(tables.batches.c.receipts, tables.batches.c.networks)).one()
        connection.execute(update(tables.batches).values(receipts=b"{}", networks=""))
    watch.turn(DAY)
    assert ear.begun == [(made.mrv_id, "NOT_FOUND")]
    with watch.service.database.write() as connection:
        connection.execute(update(tables.batches).values(receipts=kept.receipts, networks=kept.networks))
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        watch.turn(DAY, watch.another("away", [ear], other))
        assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"
    assert ear.ended == []
    watch.turn(DAY)
    assert ear.ended == [(made.mrv_id, "VALID")]


@pytest.mark.parametrize("place", ["block_time", "evidence"])
def test_receipts_edited_by_hand_though_the_journal_has_them(watch: Watch, ear: Ear, place: str) -> None:
    """What is judged is what others are given, and not what the worker's journal knows."""
    (made,) = watch.anchored()
    watch.turn()
    with watch.service.database.write() as connection:
        data = json.loads(connection.execute(select(tables.batches.c.receipts)).scalar_one())
        data["log"][place] = "2001-01-01T00:00:00Z" if place == "block_time" else {}
        connection.execute(update(tables.batches).values(receipts=canonical_bytes(data)))
    watch.turn(DAY)
    assert [name for name, _ in ear.begun] == [made.mrv_id]
    assert watch.verdict(made.mrv_id)["verdict"] != "VALID"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET content = 'text'",
        "UPDATE records SET experiment = 'another'",
        "UPDATE records SET energy_uwh = 1",
        "UPDATE records SET hash = '0123'",
        "UPDATE members SET proof = 'text'",
        "UPDATE batches SET receipts = '[1]'",
        "UPDATE batches SET networks = 'log\nother'",
        "UPDATE verifications SET kind = 'aaa'",
        "UPDATE verifications SET failing_since = 'x', held = 'what was never there'",
        "UPDATE verifications SET valid_at = 'x', held = 'what was never there', enrolled_at = '2001-01-01T00:00:00Z', "
        "failing_since = '2001-01-01T00:00:00Z'",
        "DELETE FROM samples",
    ],
)
def test_whatever_is_written_by_hand_ends_no_watcher(tmp_path: Path, statement: str) -> None:
    service = Service(tmp_path / "registry")
    ear = Ear()
    registry = Registry.load()
    with BlockchainManager(load_config(LOG), base_dir=tmp_path / "registry", registry=registry) as manager:
        watch = Watch(service, manager, [ear])
        (made,) = watch.anchored()
        samples = b"".join(line + b"\n" for line in steady(20).lines)
        assert service.put(f"records/{made.mrv_id}/samples", samples).status_code == 200
        watch.turn()
        assert watch.verdict(made.mrv_id)["verdict"] == "VALID"
        with service.database.write() as connection:
            connection.exec_driver_sql(statement)
        watch.turn(DAY)
        assert [name for name, _ in ear.begun] == [made.mrv_id]
    service.close()


def test_a_receipt_that_is_lost_is_missed(tmp_path: Path, ear: Ear) -> None:
    """Of two receipts, either would be enough to verify; one that was there is missed all the same."""
    config = {"blockchain": {"networks": ["log", "other"], "log": {"driver": "log"}, "other": {"driver": "log"}}}
    service = Service(tmp_path / "registry")
    registry = Registry.load()
    with BlockchainManager(load_config(config), base_dir=tmp_path / "registry", registry=registry) as manager:
        watch = Watch(service, manager, [ear])
        (made,) = watch.anchored()
        watch.turn()
        with service.database.write() as connection:
            data = json.loads(connection.execute(select(tables.batches.c.receipts)).scalar_one())
            del data["other"]
            connection.execute(update(tables.batches).values(receipts=canonical_bytes(data), networks="log"))
        watch.turn(DAY)
        assert ear.begun == [(made.mrv_id, "NOT_FOUND")]
        assert "its receipt of other" in watch.verdict(made.mrv_id)["summary"]
    service.close()


def test_no_room_for_looking_is_no_loss(
    watch: Watch, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = watch.anchored()
    watch.turn()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    watch.turn(DAY)
    assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"
    assert ear.begun == []


def test_what_was_found_while_nobody_heard_is_told_as_it_was(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    (made,) = watch.anchored()
    watch.turn()
    edit(watch.service, made.mrv_id, b'"batch_size":128', b'"batch_size":129')
    ear.is_deaf = True
    with pytest.raises(BackendError):
        watch.turn(DAY)
    edit(watch.service, made.mrv_id, b'"batch_size":129', b'"batch_size":128')
    ear.is_deaf = False
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        watch.turn(DAY, watch.another("away", [ear], other))
    assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"
    assert ear.begun == [(made.mrv_id, "TAMPERED")]


def test_what_was_never_valid_is_an_alarm_after_two_turns(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    """A watcher with a wrong configuration from its first day does not look like one that has found nothing."""
    (made,) = watch.anchored()
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        away = watch.another("away", [ear], other)
        watch.turn(timedelta(0), away)
        watch.turn(2 * DAY, away)
        assert ear.begun == []
        watch.turn(DAY, away)
        assert ear.begun == [(made.mrv_id, "UNREACHABLE")]


def test_one_failed_check_after_a_pause_is_no_alarm(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    """A watcher that was off for a month, and starts while a network is away, calls nobody at once."""
    (made,) = watch.anchored()
    watch.turn()
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        away = watch.another("away", [ear], other)
        watch.turn(30 * DAY, away)
        assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"
        watch.turn(DAY, away)
        assert ear.begun == []
        watch.turn(timedelta(minutes=15), away)
        assert ear.begun == [(made.mrv_id, "UNREACHABLE")]


def test_once_ends_though_what_is_away_comes_due_again(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    """Each look takes longer than the time until the next; what is wrong is told all the same."""
    made = watch.anchored(3)
    edit(watch.service, made[0].mrv_id, b'"batch_size":128', b'"batch_size":129')
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        registry = Registry.load()

        def clock() -> datetime:
            watch.now += timedelta(minutes=10)
            return watch.now

        away = Watcher(watch.service.database, other, registry, "away", DAY, [ear], clock)
        away.run_once(threading.Event())
    assert ear.begun == [(made[0].mrv_id, "TAMPERED")]
    assert [watch.verdict(each.mrv_id)["verdict"] for each in made] == ["TAMPERED", "UNREACHABLE", "UNREACHABLE"]


def test_once_looks_at_everything_though_nobody_hears(watch: Watch) -> None:
    made = watch.anchored(4)
    for each in made:
        edit(watch.service, each.mrv_id, b'"batch_size":128', b'"batch_size":129')
    deaf, log = Ear(is_deaf=True), Ear(column="logged")
    with pytest.raises(BackendError, match="nobody hears"):
        watch.another("watcher", [deaf, log]).run_once(threading.Event())
    assert sorted(log.begun) == sorted((each.mrv_id, "TAMPERED") for each in made)


def test_one_failed_check_before_a_pause_and_one_after_are_no_alarm(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    """What was between is not known: the network may have been there."""
    (made,) = watch.anchored()
    watch.turn()
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        away = watch.another("away", [ear], other)
        for later in (DAY, 30 * DAY, DAY):
            watch.turn(later, away)
            assert ear.begun == []
        watch.turn(timedelta(minutes=15), away)
        assert ear.begun == [(made.mrv_id, "UNREACHABLE")]


@pytest.mark.parametrize("column", ["valid_at", "enrolled_at", "failing_since", "checked_at"])
def test_a_time_without_a_zone_ends_no_watcher(watch: Watch, ear: Ear, tmp_path: Path, column: str) -> None:
    (made,) = watch.anchored()
    watch.turn()
    with watch.service.database.write() as connection:
        connection.execute(update(tables.verifications).values({column: "2001-01-01T00:00:00"}))
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        watch.turn(DAY, watch.another("away", [ear], other))
    assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"


def test_an_alarm_that_ended_while_nobody_heard_is_told_as_ended(watch: Watch, ear: Ear, tmp_path: Path) -> None:
    """With the verdict that ended it, though it is another one by then."""
    (made,) = watch.anchored()
    edit(watch.service, made.mrv_id, b'"batch_size":128', b'"batch_size":129')
    watch.turn()
    ear.is_deaf = True
    edit(watch.service, made.mrv_id, b'"batch_size":129', b'"batch_size":128')
    with pytest.raises(BackendError):
        watch.turn(DAY)
    ear.is_deaf = False
    with BlockchainManager(ELSEWHERE, base_dir=tmp_path / "elsewhere") as other:
        watch.turn(DAY, watch.another("away", [ear], other))
    assert watch.verdict(made.mrv_id)["verdict"] == "UNREACHABLE"
    assert (ear.begun, ear.ended) == ([(made.mrv_id, "TAMPERED")], [(made.mrv_id, "VALID")])


def test_clients_that_keep_asking_keep_nobody_out(watch: Watch) -> None:
    made = watch.anchored(3)
    watch.watcher.enrol()
    for _ in range(6):
        watch.request(made[0])
        assert watch.watcher.verify_next()
    assert all(watch.verdict(each.mrv_id)["verdict"] == "VALID" for each in made)


def test_a_configuration_without_networks_is_usage(service: Service, tmp_path: Path) -> None:
    with BlockchainManager(load_config({"blockchain": {"networks": []}}), base_dir=tmp_path / "none") as manager:
        with pytest.raises(ConfigurationError, match="selects no network"):
            Watcher(service.database, manager, Registry.load(), "w", DAY, [])
        with pytest.raises(ConfigurationError, match="selects no network"):
            Worker(service.database, manager, "w", Pace())


@pytest.mark.parametrize("place", WATCHER_FAILPOINTS)
def test_a_watcher_that_is_killed_anywhere(
    tmp_path: Path, manager: BlockchainManager, hook: Hook, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one does what it left, and nobody misses the alarm."""
    service = Service(tmp_path / "registry")
    try:
        watch = Watch(service, manager, [Webhook(hook.url)])
        (made,) = watch.anchored()
        edit(service, made.mrv_id, b'"batch_size":128', b'"batch_size":129')
        (tmp_path / "config.json").write_text(json.dumps(LOG))
        command = [MRV, "watch", "--once", "--base-dir", str(tmp_path / "registry")]
        command += ["--config", str(tmp_path / "config.json")]
        environment = {**os.environ, "MRV_FAILPOINT": place, "MRV_WEBHOOK_URL": hook.url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr
        watch.turn(timedelta(hours=1))
        assert watch.verdict(made.mrv_id)["verdict"] == "TAMPERED"
        assert {each["name"] for _, body in hook.taken for each in body["begun"]} == {made.mrv_id}
        assert watch.watcher.tell() == 0
    finally:
        service.close()


def test_several_watchers_share_the_work(watch: Watch) -> None:
    made = watch.anchored(12)
    watch.watcher.enrol()
    done: list[int] = []

    def work(name: str) -> None:
        with BlockchainManager(watch.manager.config, base_dir=watch.manager.base_dir) as manager:
            each = watch.another(name, [], manager)
            done.append(sum(1 for _ in iter(each.verify_next, False)))

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while watch.watcher.verify_next():  # a row that another held when a watcher looked
        done.append(1)
    assert sum(done) == len(made)
    assert all(watch.verdict(each.mrv_id)["verdict"] == "VALID" for each in made)


def test_a_request_while_it_is_verified_is_not_lost(watch: Watch) -> None:
    (made,) = watch.anchored()
    watch.watcher.enrol()
    looks = iter((lambda: None, lambda: None, lambda: watch.request(made)))

    def clock() -> datetime:
        """Ask for it when the watcher looks at the time for the third time, which is when it has verified."""
        next(looks)()
        return watch.now

    slow = Watcher(watch.service.database, watch.manager, Registry.load(), "slow", DAY, [], clock)
    assert slow.verify_next()
    assert watch.verdict(made.mrv_id)["state"] == "waiting"
    assert watch.watcher.verify_next()
    assert watch.verdict(made.mrv_id)["state"] == "done"


@pytest.mark.parametrize(
    ("verdict", "on", "valid_before", "failing_for", "enrolled_before", "alarm"),
    [
        (Verdict.VALID, None, timedelta(0), timedelta(0), DAY, None),
        (Verdict.VALID, Verdict.TAMPERED, timedelta(0), timedelta(0), DAY, None),
        (Verdict.TAMPERED, None, None, timedelta(0), None, Verdict.TAMPERED),
        (Verdict.DISAGREE, None, None, timedelta(0), None, Verdict.DISAGREE),
        (Verdict.NOT_FOUND, None, None, 9 * DAY, None, None),
        (Verdict.NOT_FOUND, None, None, 2 * DAY, 2 * DAY, None),
        (Verdict.NOT_FOUND, None, None, 2 * DAY + SECOND, 2 * DAY + SECOND, Verdict.NOT_FOUND),
        (Verdict.NOT_FOUND, None, None, 9 * DAY, 2 * DAY, None),
        (Verdict.NOT_FOUND, None, None, DAY, 9 * DAY, None),
        (Verdict.NOT_FOUND, None, DAY, timedelta(0), DAY, Verdict.NOT_FOUND),
        (Verdict.NOT_FOUND, Verdict.TAMPERED, None, DAY, DAY, Verdict.NOT_FOUND),
        (Verdict.UNREACHABLE, None, None, 9 * DAY, None, None),
        (Verdict.UNREACHABLE, None, 2 * DAY, 2 * DAY, 9 * DAY, None),
        (Verdict.UNREACHABLE, None, 9 * DAY, timedelta(0), 9 * DAY, None),
        (Verdict.UNREACHABLE, None, 9 * DAY, DAY, 9 * DAY, None),
        (Verdict.UNREACHABLE, None, 9 * DAY, DAY + SECOND, 9 * DAY, Verdict.UNREACHABLE),
        (Verdict.UNREACHABLE, None, 2 * DAY + SECOND, DAY + SECOND, None, Verdict.UNREACHABLE),
        (Verdict.UNREACHABLE, Verdict.TAMPERED, DAY, timedelta(0), DAY, Verdict.TAMPERED),
        (Verdict.PENDING, None, DAY, timedelta(0), DAY, None),
        (Verdict.PENDING, None, 9 * DAY, 3 * DAY, 9 * DAY, Verdict.PENDING),
        (Verdict.PENDING, Verdict.NOT_FOUND, DAY, timedelta(0), DAY, Verdict.NOT_FOUND),
    ],
)
def test_what_is_cause_for_alarm(
    verdict: Verdict,
    on: Verdict | None,
    valid_before: timedelta | None,
    failing_for: timedelta,
    enrolled_before: timedelta | None,
    alarm: Verdict | None,
) -> None:
    now = utc_now()
    valid_at, enrolled_at = (None if each is None else now - each for each in (valid_before, enrolled_before))
    found = alarm_of(
        verdict, now, on=on, valid_at=valid_at, failing_since=now - failing_for, enrolled_at=enrolled_at, every=DAY
    )
    assert found == alarm


# --- the webhook and the command line ---------------------------------------------------------------------------------


def test_a_webhook(watch: Watch, hook: Hook) -> None:
    watcher = watch.another("watcher", [Webhook(hook.url)])
    (made,) = watch.anchored()
    edit(watch.service, made.mrv_id, b'"batch_size":128', b'"batch_size":129')
    hook.status = 500
    with pytest.raises(BackendError) as raised:
        watch.turn(watcher=watcher)
    assert "secret-path" not in str(raised.value)
    hook.status = 204
    watcher.tell()
    path, document = hook.taken[-1]
    assert path == "/hooks/secret-path"
    assert (document["format"], document["ended"]) == ("mrv-alarms/1", [])
    assert (document["begun"][0]["name"], document["begun"][0]["verdict"]) == (made.mrv_id, "TAMPERED")
    assert made.mrv_id in document["text"]


def test_an_id_calls_nobody_in_a_chat(hook: Hook) -> None:
    fact = {"kind": "record", "name": "<!channel>", "verdict": "TAMPERED", "summary": "a & b"}
    Webhook(hook.url).tell([fact], [])
    _, document = hook.taken[-1]
    assert document["text"] == "record &lt;!channel&gt; is TAMPERED: a &amp; b"
    assert document["begun"] == [fact]


def test_a_webhook_that_is_no_url_is_said_without_it() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Webhook("ftp://user:hunter2@host/secret-path")
    assert "hunter2" not in str(raised.value)
    assert "secret-path" not in str(raised.value)


def test_watching_from_the_command_line(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(tmp_path / "registry")
    try:
        (tmp_path / "config.json").write_text(json.dumps(LOG))
        base = ["--base-dir", str(tmp_path / "registry"), "--config", str(tmp_path / "config.json")]
        made = [record() for _ in range(3)]
        for each in made:
            assert service.submit(each.to_bytes()).status_code == 201

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([MRV, *arguments, *base], capture_output=True, text=True, timeout=60)

        monkeypatch.setenv("MRV_WEBHOOK_URL", hook.url)
        assert run("worker", "--once", "--after", "0").returncode == 0
        first = run("watch", "--once")
        assert (first.returncode, first.stderr) == (0, "verifying on log\n0 alarms\n")
        edit(service, made[1].mrv_id, b'"batch_size":128', b'"batch_size":129')
        service.client.post(f"/api/v1/records/{made[1].mrv_id}/verification", headers=service.writer)
        second = run("watch", "--once")
        assert second.returncode == 1
        said = [json.loads(line) for line in second.stderr.splitlines() if line.startswith("{")]
        assert [each["level"] for each in said] == ["error"]
        assert made[1].mrv_id in said[0]["message"]
        assert "secret-path" not in second.stderr
        assert [body["begun"][0]["name"] for _, body in hook.taken] == [made[1].mrv_id]
        edit(service, made[2].mrv_id, b'"batch_size":128', b'"batch_size":129')
        service.client.post(f"/api/v1/records/{made[2].mrv_id}/verification", headers=service.writer)
        monkeypatch.setenv("MRV_WEBHOOK_URL", "http://127.0.0.1:9/secret-path")
        third = run("watch", "--once")
        assert third.returncode == 4
        assert "secret-path" not in third.stderr
        assert service.get(f"records/{made[2].mrv_id}/verification").json()["verdict"] == "TAMPERED"
    finally:
        service.close()


def test_stopping_a_watcher(tmp_path: Path) -> None:
    Service(tmp_path / "registry").close()
    (tmp_path / "config.json").write_text(json.dumps(LOG))
    command = [MRV, "watch", "--base-dir", str(tmp_path / "registry"), "--config", str(tmp_path / "config.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "verifying on log" in process.stderr.readline()
        process.terminate()
        assert process.stderr.read() == "0 alarms\n"
        assert process.wait(30) == 0
