# SPDX-License-Identifier: MIT
"""The log of a registry, and `mrv audit`: a registry that rolls back, hides or changes something is found out."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_modes import Reply, Request
from faulty import FaultServer
from sqlalchemy import delete, func, select, update

from mrv_core.hashing import Digest
from mrv_core.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from mrv_core.mrv import registry_audit
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.registry_audit import log_entry, read_head
from mrv_core.mrv.registry_client import RegistryClient
from mrv_service import tables

from .conftest import Service, record

MRV = str(Path(sys.executable).with_name("mrv"))
BUNDLE = (Path(__file__).parents[1] / "bundles" / "golden" / "bundle-1" / "embedded.mrv.json").read_bytes()


def submit(service: Service, count: int) -> list[MrvRecord]:
    made = [record() for _ in range(count)]
    for each in made:
        assert service.submit(each.to_bytes()).status_code == 201
    return made


def head_of(service: Service) -> tuple[int, bytes]:
    head = service.get("log").json()
    return head["size"], Digest.parse(head["root"]).value


def path_of(answer: Any) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    return [bytes.fromhex(each) for each in answer.json()["path"]]


def test_the_log_has_everything_in_the_order_of_its_arrival(service: Service) -> None:
    assert head_of(service) == (0, tree_root([]))
    made = submit(service, 3)
    service.submit(made[0].to_bytes())  # again: no new entry
    assert service.client.post("/api/v1/bundles", content=BUNDLE, headers=service.writer).status_code == 201
    made += submit(service, 2)
    (bundle,) = service.get("bundles").json()["items"]
    entries = [log_entry("record", each.mrv_id, each.hash.hex) for each in made]
    entries.insert(3, log_entry("bundle", bundle["hash"], bundle["hash"]))
    size, root = head_of(service)
    assert (size, root) == (6, tree_root(entries))
    for index, each in ((0, made[0]), (5, made[4])):
        path = path_of(service.get(f"records/{each.mrv_id}/inclusion?size={size}"))
        verify_inclusion(leaf_hash(entries[index]), index, size, path, root)
    path = path_of(service.get(f"bundles/{bundle['hash']}/inclusion?size={size}"))
    verify_inclusion(leaf_hash(entries[3]), 3, size, path, root)


def test_a_refused_record_is_no_entry(service: Service) -> None:
    (made,) = submit(service, 1)
    other = record(made.mrv_id, training={"epochs": 3, "batch_size": 128, "framework": "PyTorch"})
    assert service.submit(other.to_bytes()).status_code == 409
    assert service.submit(b"{}").status_code == 422
    assert head_of(service)[0] == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("log/consistency?first=0&second=1", 422),
        ("log/consistency?first=2&second=1", 422),
        ("log/consistency?first=1&second=9", 422),
        ("log/consistency?first=1", 422),
        ("records/{}/inclusion?size=9", 422),
        ("records/{}/inclusion", 422),
        ("records/MRV-none/inclusion?size=1", 404),
        (f"bundles/{'0' * 64}/inclusion?size=1", 404),
    ],
)
def test_proofs_that_there_are_none_of(service: Service, path: str, status: int) -> None:
    made = submit(service, 2)
    head_of(service)
    assert service.get(path.format(made[1].mrv_id)).status_code == status


def test_a_later_record_is_not_in_an_earlier_log(service: Service) -> None:
    submit(service, 1)
    head_of(service)
    (made,) = submit(service, 1)
    assert service.get(f"records/{made.mrv_id}/inclusion?size=1").status_code == 404


def test_the_log_only_grows_while_many_write(new_service: Callable[..., Service]) -> None:
    """Two servers on one database, each head one goes on from each before."""
    services = [new_service(), new_service()]
    heads: list[tuple[int, bytes]] = []
    for (
        each
    ) in services:  # the framework sets routes up when they are first asked for, which two threads cannot do at once
        submit(each, 1)
        head_of(each)

    def write(service: Service) -> None:
        submit(service, 15)

    threads = [threading.Thread(target=write, args=(services[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        heads += [head_of(each) for each in services]
    for thread in threads:
        thread.join()
    heads += [head_of(each) for each in services]
    assert heads[-1][0] == 62
    assert heads[-1] == heads[-2]
    previous = None
    for size, root in heads:
        if previous is not None and previous[0] > 0:
            path = path_of(services[0].get(f"log/consistency?first={previous[0]}&second={size}"))
            verify_consistency(previous[0], size, previous[1], root, path)
        previous = size, root


def test_a_database_rolled_back_below_a_server_is_noticed(service: Service) -> None:
    made = submit(service, 3)
    head_of(service)
    with service.database.write() as connection:
        connection.execute(delete(tables.log_entries).where(tables.log_entries.c.position >= 1))
    (new,) = submit(service, 1)
    size, root = head_of(service)
    entries = [log_entry("record", each.mrv_id, each.hash.hex) for each in (made[0], new)]
    assert (size, root) == (2, tree_root(entries))


def test_an_entry_changed_below_a_server_is_noticed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once by who asks for this very entry, and by everybody once in a while."""
    made = submit(service, 3)
    before = head_of(service)

    def change(place: int) -> bytes:
        with service.database.write() as connection:
            connection.execute(
                update(tables.log_entries).where(tables.log_entries.c.position == place).values(hash="0" * 64)
            )
        hashes[place] = "0" * 64
        return tree_root([log_entry("record", each.mrv_id, hash) for each, hash in zip(made, hashes, strict=True)])

    hashes = [each.hash.hex for each in made]
    changed = change(1)
    path = path_of(service.get(f"records/{made[1].mrv_id}/inclusion?size=3"))
    verify_inclusion(leaf_hash(log_entry("record", made[1].mrv_id, "0" * 64)), 1, 3, path, changed)
    assert head_of(service) == (3, changed) != before
    changed = change(0)
    monkeypatch.setattr("mrv_service.log._WHOLE_S", -1.0)
    assert head_of(service) == (3, changed)


def test_two_servers_that_start_at_once_enter_the_same(new_service: Callable[..., Service]) -> None:
    services = [new_service(), new_service()]
    submit(services[0], 30)
    for _ in range(5):
        with services[0].database.write() as connection:
            connection.execute(delete(tables.log_entries))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda each: each.app.state.log.enter_missing(), services * 2))
        with services[0].database.read() as connection:
            assert connection.execute(select(func.count()).select_from(tables.log_entries)).scalar_one() == 30


def test_a_log_with_a_gap_is_said(new_service: Callable[..., Service]) -> None:
    service = new_service()
    submit(service, 3)
    head_of(service)
    with service.database.write() as connection:
        connection.execute(delete(tables.log_entries).where(tables.log_entries.c.position == 1))
        connection.execute(delete(tables.records))
    answer = new_service().get("log")
    assert (answer.status_code, "gap" in answer.text) == (503, True)


def test_what_an_earlier_version_accepted_is_entered_at_the_next_start(new_service: Callable[..., Service]) -> None:
    service = new_service()
    submit(service, 2)
    service.client.post("/api/v1/bundles", content=BUNDLE, headers=service.writer)
    with service.database.write() as connection:
        connection.execute(delete(tables.log_entries))
    assert head_of(new_service())[0] == 3


# --- mrv audit --------------------------------------------------------------------------------------------------------


class Auditor:
    """Somebody who looks at a registry from time to time."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder = folder
        self.base = base
        self.port = "0"

    @contextmanager
    def served(self, *options: str) -> Iterator[str]:
        """Run the registry; on the port of the first time from then on."""
        command = [MRV, "serve", "--port", self.port, "--base-dir", str(self.base), *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = re.search(r"http://127.0.0.1:(\d+)", process.stderr.readline())
            assert said is not None
            self.port = said[1]
            try:
                yield said[0]
            finally:
                process.kill()

    def audit(self, *arguments: object, expect: int = 0) -> dict[str, Any]:
        command = [MRV, "audit", "--registry", f"http://127.0.0.1:{self.port}", "--json", "--head", str(self.head)]
        done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    @property
    def head(self) -> Path:
        return self.folder / "head.json"

    def kept(self) -> int:
        head = read_head(self.head)
        assert head is not None
        return head.size

    def file(self, made: MrvRecord) -> Path:
        path = self.folder / f"{made.mrv_id}.json"
        path.write_bytes(made.to_bytes())
        return path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Auditor, Service]]:
    service = Service(tmp_path / "registry")
    yield Auditor(tmp_path, tmp_path / "registry"), service
    service.close()


def verdicts(report: dict[str, Any]) -> list[str]:
    return [step["verdict"] for step in report["steps"]]


def test_a_registry_that_only_grows(place: tuple[Auditor, Service]) -> None:
    auditor, service = place
    made = submit(service, 3)
    with auditor.served():
        first = auditor.audit(auditor.file(made[0]))
        assert (first["verdict"], first["before"], first["head"]["size"]) == ("VALID", None, 3)
        made += submit(service, 4)
        second = auditor.audit(*map(auditor.file, made))
        assert verdicts(second) == ["VALID"] * 8
        assert (second["before"]["size"], second["head"]["size"], auditor.kept()) == (3, 7, 7)
        assert verdicts(auditor.audit()) == ["VALID"]


def test_a_registry_that_is_rolled_back(place: tuple[Auditor, Service], tmp_path: Path) -> None:
    auditor, service = place
    submit(service, 3)
    service.close()
    shutil.copytree(auditor.base, tmp_path / "old")
    newer = Service(auditor.base)
    submit(newer, 2)
    newer.close()
    with auditor.served():
        auditor.audit()
    shutil.rmtree(auditor.base)
    shutil.copytree(tmp_path / "old", auditor.base)
    with auditor.served():
        report = auditor.audit(expect=1)
        assert "showed 5" in report["steps"][0]["detail"]
        assert auditor.kept() == 5, "what was seen is evidence, and stays"
    again = Service(auditor.base)  # it goes on with other records, until it is longer
    submit(again, 9)
    again.close()
    with auditor.served():
        auditor.audit(expect=1)
    assert auditor.kept() == 5


def test_a_registry_that_changes_what_is_in_its_log(place: tuple[Auditor, Service]) -> None:
    auditor, service = place
    made = submit(service, 5)
    with auditor.served():
        auditor.audit()
    with service.database.write() as connection:
        changed = update(tables.log_entries).where(tables.log_entries.c.name == made[1].mrv_id)
        connection.execute(changed.values(hash="0" * 64))
    with auditor.served():
        assert "two roots" in auditor.audit(expect=1)["steps"][0]["detail"]
    submit(service, 1)
    with auditor.served():
        auditor.audit(expect=1)


def test_a_record_that_is_hidden_or_another(place: tuple[Auditor, Service]) -> None:
    auditor, service = place
    made = submit(service, 3)
    unknown = record()
    other = record(made[2].mrv_id, training={"epochs": 3, "batch_size": 128, "framework": "PyTorch"})
    with service.database.write() as connection:
        connection.execute(delete(tables.records).where(tables.records.c.mrv_id == made[1].mrv_id))
    with auditor.served():
        report = auditor.audit(auditor.file(made[0]), auditor.file(made[1]), auditor.file(unknown), expect=5)
        assert verdicts(report) == ["VALID", "VALID", "NOT_FOUND", "NOT_FOUND"]
        assert "hides it" in report["steps"][2]["detail"]
        assert verdicts(auditor.audit(auditor.file(other), expect=1)) == ["VALID", "TAMPERED"]


@pytest.mark.parametrize("changed", [b"{}", b"\xff", None])
def test_a_record_that_is_given_out_otherwise(place: tuple[Auditor, Service], changed: bytes | None) -> None:
    """The log has it, and the registry gives out something else; the head that was kept stays."""
    auditor, service = place
    made = submit(service, 2)
    with auditor.served():
        auditor.audit()
        submit(service, 1)
        content = changed or made[1].to_bytes()  # another record's, which is one by itself
        with service.database.write() as connection:
            mine = tables.records.c.mrv_id == made[0].mrv_id
            connection.execute(update(tables.records).where(mine).values(content=content))
        assert verdicts(auditor.audit(auditor.file(made[0]), expect=1)) == ["VALID", "TAMPERED"]
    assert auditor.kept() == 2


def test_a_head_that_cannot_be_kept_hides_no_verdict(place: tuple[Auditor, Service]) -> None:
    auditor, service = place
    submit(service, 1)
    auditor.folder = auditor.folder / "nowhere"
    unknown = service.settings.base_dir.parent / "unknown.json"
    unknown.write_bytes(record().to_bytes())
    with auditor.served():
        report = auditor.audit(unknown, expect=5)
    assert verdicts(report) == ["VALID", "NOT_FOUND", "UNREACHABLE"]


def test_a_client_waits_as_long_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)

    def answer(_asked: Request) -> Reply:
        if len(waited) < 2:
            return Reply(429, (("Retry-After", "7"),), b"{}")
        return Reply(200, (), b"the record")

    with FaultServer(answer) as server, RegistryClient(server.url) as client:
        assert client.fetch_bytes("records/x/content") == b"the record"
    assert waited == [7.0, 7.0]


def test_a_registry_that_is_asked_too_often_is_not_waited_for_for_ever(
    place: tuple[Auditor, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it asks for more patience than there is, the rest could not be checked."""
    auditor, service = place
    paths = [auditor.file(each) for each in submit(service, 3)]
    with auditor.served("--rate", "4") as url, RegistryClient(url) as client:
        monkeypatch.setattr("mrv_core.mrv.registry_client._PATIENCE_S", 0.0)
        report = registry_audit.audit(client, auditor.head, paths)
    assert [step.verdict for step in report.steps] == ["VALID", "VALID", "UNREACHABLE", "UNREACHABLE"]


def test_a_folder_that_another_program_locks_hides_no_verdict(
    place: tuple[Auditor, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor, service = place
    submit(service, 1)
    unknown = auditor.file(record())
    monkeypatch.setattr(registry_audit, "_LOCK_S", 0.0)
    folder = os.open(auditor.folder, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        with auditor.served() as url, RegistryClient(url) as client:
            report = registry_audit.audit(client, auditor.head, [unknown])
    finally:
        os.close(folder)
    assert [step.verdict for step in report.steps] == ["VALID", "NOT_FOUND", "UNREACHABLE"]


def test_a_registry_that_cannot_be_asked(place: tuple[Auditor, Service]) -> None:
    auditor, service = place
    (made,) = submit(service, 1)
    with auditor.served("--private"):
        report = auditor.audit(expect=4)
        assert verdicts(report) == ["UNREACHABLE"]
        assert not auditor.head.exists()
    with auditor.served():
        auditor.audit()
    assert verdicts(auditor.audit(auditor.file(made), expect=4)) == ["UNREACHABLE"]
    assert auditor.kept() == 1


def test_the_head_of_another_registry_is_usage(place: tuple[Auditor, Service]) -> None:
    auditor, _service = place
    with auditor.served():
        auditor.audit()
        known = json.loads(auditor.head.read_text())
        auditor.head.write_text(json.dumps({**known, "registry": "https://other.example"}, sort_keys=True))
        assert "head of https://other.example" in auditor.audit(expect=2)["error"]["message"]
        spoilt = (
            "{}",
            json.dumps({**known, "size": -3}, sort_keys=True),
            json.dumps({**known, "size": 7}, sort_keys=True),
        )
        for text in spoilt:
            auditor.head.write_text(text)
            auditor.audit(expect=2)


def test_an_audit_puts_no_older_head_back(place: tuple[Auditor, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once on one file: the one that saw less does not replace what the other kept."""
    auditor, service = place
    submit(service, 1)
    with auditor.served() as url:
        auditor.audit()
        submit(service, 1)
        (made,) = submit(service, 1)
        path = auditor.file(made)
        read = registry_audit.read_record_file

        def meanwhile(file: Path) -> bytes:
            auditor.audit()
            return read(file)

        monkeypatch.setattr(registry_audit, "read_record_file", meanwhile)
        with RegistryClient(url) as client:
            report = registry_audit.audit(client, auditor.head, [path])
    assert [step.verdict for step in report.steps] == ["VALID", "VALID", "UNREACHABLE"]
    assert auditor.kept() == 3
