# SPDX-License-Identifier: MIT
"""The anchoring worker: every accepted record is anchored once, whatever happens to the worker meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from mrv_core.config import load_config
from mrv_core.failpoint import FAILPOINTS, WORKER_FAILPOINTS
from mrv_core.manager import BlockchainManager
from mrv_core.models import Verdict, utc_now
from mrv_core.mrv.record import MrvRecord
from mrv_core.mrv.storage import RecordReceipts, receipts_path
from mrv_core.mrv.verification import verify_record
from mrv_core.registry import Registry
from mrv_service import tables
from mrv_service.worker import Pace, Worker, waiting

from .conftest import Service, record

MRV = str(Path(sys.executable).with_name("mrv"))
LOG = '{"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}'
NEVER = {"anchor.before_find", "anchor.before_replacement", "anchor.replacement", "anchor.before_conflict"}
NEVER |= {"anchor.conflict", "anchor.before_receipt", "anchor.receipt"}
"""Failpoints that an anchor on a log, which includes at once, does not pass."""


@pytest.fixture
def manager(tmp_path: Path) -> Any:
    registry = Registry.load()
    config = load_config({"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}, registry=registry)
    with BlockchainManager(config, base_dir=tmp_path / "registry", registry=registry) as made:
        yield made


def submit(service: Service, count: int) -> list[MrvRecord]:
    made = [record() for _ in range(count)]
    for each in made:
        assert service.submit(each.to_bytes()).status_code == 201
    return made


def worker(service: Service, manager: BlockchainManager, pace: Pace, later_s: float = 0, name: str = "w") -> Worker:
    return Worker(service.database, manager, name, pace, lambda: utc_now() + timedelta(seconds=later_s))


def work(made: Worker) -> None:
    while made.step():
        pass


def require_anchored(service: Service, manager: BlockchainManager, made: list[MrvRecord], folder: Path) -> int:
    """Check that each record is anchored and verifies by what the registry gives out; return the number of batches."""
    leaves = set()
    sizes = set()
    for each in made:
        path = folder / f"{each.mrv_id}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(service.get(f"records/{each.mrv_id}/content").content)
        receipts_path(path).write_bytes(service.get(f"records/{each.mrv_id}/receipts").content)
        report = verify_record(path, manager=manager)
        assert report.verdict is Verdict.VALID, report.summary
        leaves.add(report.networks[0].facts["leaf_index"])
        sizes.add(report.networks[0].facts["log_size"])
        assert service.get(f"records/{each.mrv_id}").json()["networks"] == ["log"]
    with service.database.read() as connection:
        rows = connection.execute(select(tables.batches)).all()
        inside = connection.execute(select(tables.members)).all()
    assert {row.state for row in rows} == {"final"}
    assert len(inside) == len(made)
    assert leaves == set(range(len(rows))), "one anchor a batch, and no other"
    assert max(sizes) == len(rows)
    return len(rows)


def test_records_become_batches_and_each_keeps_a_proof(
    service: Service, manager: BlockchainManager, tmp_path: Path
) -> None:
    made = submit(service, 23)
    assert waiting(service.database) == (23, 0)
    work(worker(service, manager, Pace(10, 0)))
    assert waiting(service.database) == (0, 0)
    assert require_anchored(service, manager, made, tmp_path / "out") == 3


def test_a_batch_waits_for_records_or_time(service: Service, manager: BlockchainManager) -> None:
    submit(service, 2)
    assert not worker(service, manager, Pace(3, 60)).step()
    assert waiting(service.database) == (2, 0)
    assert worker(service, manager, Pace(3, 60), later_s=61).step()
    submit(service, 3)
    assert worker(service, manager, Pace(3, 60)).step()
    assert waiting(service.database)[0] == 0


def test_what_comes_with_receipts_is_left_alone(service: Service, manager: BlockchainManager, tmp_path: Path) -> None:
    (made,) = submit(service, 1)
    outcomes = manager.anchor(made.hash, {"mrv_id": made.mrv_id})
    receipts = {name: outcome.receipt for name, outcome in outcomes.items() if outcome.receipt is not None}
    held = RecordReceipts(mrv_id=made.mrv_id, commitment=made.hash, receipts=receipts)
    assert service.put(f"records/{made.mrv_id}/receipts", held.to_bytes()).status_code == 200
    assert not worker(service, manager, Pace(1, 0)).step()
    assert service.get(f"records/{made.mrv_id}/receipts").content == held.to_bytes()


def test_receipts_without_a_receipt_hide_nothing(service: Service, manager: BlockchainManager, tmp_path: Path) -> None:
    made = submit(service, 2)
    for each in made:
        empty = RecordReceipts(mrv_id=each.mrv_id, commitment=each.hash, receipts={})
        assert service.put(f"records/{each.mrv_id}/receipts", empty.to_bytes()).status_code == 422
    work(worker(service, manager, Pace(2, 0)))
    assert service.put(f"records/{made[0].mrv_id}/receipts", empty.to_bytes()).status_code == 422
    require_anchored(service, manager, made, tmp_path / "out")


def test_nobody_hides_what_a_worker_anchored(service: Service, manager: BlockchainManager, tmp_path: Path) -> None:
    """A receipt under another name is added; receipts of another way are refused; the worker's stay."""
    (made,) = submit(service, 1)
    work(worker(service, manager, Pace(1, 0)))
    path = f"records/{made.mrv_id}/receipts"
    batched = RecordReceipts.from_bytes(service.get(path).content, what="receipts")
    renamed = batched.model_copy(update={"receipts": {"zzz": batched.receipts["log"]}})
    assert service.put(path, renamed.to_bytes()).status_code == 200
    now = RecordReceipts.from_bytes(service.get(path).content, what="receipts")
    assert now.receipts == {"log": batched.receipts["log"], "zzz": batched.receipts["log"]}
    assert service.get(f"records/{made.mrv_id}").json()["networks"] == ["log", "zzz"]
    outcome = manager.anchor(made.hash, {"mrv_id": made.mrv_id})["log"]
    assert outcome.receipt is not None
    alone = RecordReceipts(mrv_id=made.mrv_id, commitment=made.hash, receipts={"log": outcome.receipt})
    assert service.put(path, alone.to_bytes()).status_code == 409
    assert RecordReceipts.from_bytes(service.get(path).content, what="receipts") == now


def test_receipts_that_come_between_batch_and_anchor_are_refused(service: Service, manager: BlockchainManager) -> None:
    """Taken, they would stand in the way of the batch's as soon as it is anchored."""
    (made,) = submit(service, 1)
    one = worker(service, manager, Pace(1, 0))
    assert one.make_batch() is not None
    outcome = manager.anchor(made.hash, {"mrv_id": made.mrv_id})["log"]
    assert outcome.receipt is not None
    alone = RecordReceipts(mrv_id=made.mrv_id, commitment=made.hash, receipts={"mylog": outcome.receipt})
    assert service.put(f"records/{made.mrv_id}/receipts", alone.to_bytes()).status_code == 409
    assert one.anchor_batch() is not None
    assert service.get(f"records/{made.mrv_id}").json()["networks"] == ["log"]


def test_receipts_that_come_while_a_worker_looks_keep_a_record_out_of_its_batch(
    service: Service, manager: BlockchainManager
) -> None:
    """PostgreSQL's statement does not see what came after it began, and before it had its locks."""
    made = submit(service, 3)
    outcome = manager.anchor(made[1].hash, {"mrv_id": made[1].mrv_id})["log"]
    assert outcome.receipt is not None
    held = RecordReceipts(mrv_id=made[1].mrv_id, commitment=made[1].hash, receipts={"log": outcome.receipt})
    came: list[int] = []

    def come(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if came or "NOT (EXISTS" not in statement:
            return
        came.append(1)
        mine = select(tables.records.c.id).where(tables.records.c.mrv_id == made[1].mrv_id)
        row = {"content": held.to_bytes(), "networks": "log", "updated_at": "2026-01-01T00:00:00Z"}
        connection.execute(insert(tables.receipts).values(record_id=connection.execute(mine).scalar_one(), **row))

    event.listen(service.database.engine, "after_cursor_execute", come)
    work(worker(service, manager, Pace(10, 0)))
    event.remove(service.database.engine, "after_cursor_execute", come)
    assert came
    with service.database.read() as connection:
        assert len(connection.execute(select(tables.members)).all()) == 2
    assert service.get(f"records/{made[1].mrv_id}/receipts").content == held.to_bytes()


def test_what_the_registry_anchored_itself_is_given_out_first(service: Service, manager: BlockchainManager) -> None:
    (made,) = submit(service, 1)
    work(worker(service, manager, Pace(1, 0)))
    path = f"records/{made.mrv_id}/receipts"
    batched = RecordReceipts.from_bytes(service.get(path).content, what="receipts")
    outcome = manager.anchor(batched.anchored, {"again": "1"})["log"]
    assert outcome.receipt is not None
    later = outcome.receipt.model_copy(update={"submitted_at": utc_now() + timedelta(days=1)})
    assert service.put(path, batched.model_copy(update={"receipts": {"log": later}}).to_bytes()).status_code == 200
    assert service.get(path).content == batched.to_bytes()


def test_several_workers_share_the_work(service: Service, manager: BlockchainManager, tmp_path: Path) -> None:
    made = submit(service, 40)
    workers = [worker(service, manager, Pace(5, 0), name=f"w{number}") for number in range(4)]
    threads = [threading.Thread(target=work, args=(each,)) for each in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work(workers[0])  # what one gave up since another was quicker
    require_anchored(service, manager, made, tmp_path / "out")


def test_a_network_that_fails_loses_nothing(
    new_service: Callable[..., Service], manager: BlockchainManager, tmp_path: Path
) -> None:
    service = new_service()
    made = submit(service, 3)
    dead = load_config(
        {
            "blockchain": {
                "networks": ["ipfs"],
                "ipfs": {"url": "http://127.0.0.1:9", "timeout": 1, "retry_attempts": 1},
            }
        },
        environment={},
    )
    with BlockchainManager(dead, base_dir=tmp_path / "dead") as broken:
        work(worker(service, broken, Pace(10, 0)))
    assert waiting(service.database) == (0, 1)
    assert service.get(f"records/{made[0].mrv_id}/receipts").status_code == 404
    work(worker(service, manager, Pace(10, 0), later_s=600))
    require_anchored(service, manager, made, tmp_path / "out")


@pytest.mark.parametrize("place", [each for each in (*FAILPOINTS, *WORKER_FAILPOINTS) if each not in NEVER])
def test_a_worker_that_is_killed_anywhere(tmp_path: Path, manager: BlockchainManager, place: str) -> None:
    """At each place where it can be killed; the next worker finds everything, and anchors nothing twice."""
    service = Service(tmp_path / "registry")
    try:
        made = submit(service, 3)
        (tmp_path / "config.json").write_text(LOG)
        command = [MRV, "worker", "--once", "--after", "0", "--base-dir", str(tmp_path / "registry")]
        command += ["--config", str(tmp_path / "config.json")]
        environment = {**os.environ, "MRV_FAILPOINT": place}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr
        work(worker(service, manager, Pace(10, 0), later_s=600))
        assert require_anchored(service, manager, made, tmp_path / "out") == 1
    finally:
        service.close()


def test_killed_again_and_again_while_records_come(tmp_path: Path, manager: BlockchainManager) -> None:
    """Killed at any moment, ten times, while records are accepted: none is lost, none is anchored twice."""
    service = Service(tmp_path / "registry")
    try:
        (tmp_path / "config.json").write_text(LOG)
        command = [MRV, "worker", "--every-records", "2", "--after", "0", "--base-dir", str(tmp_path / "registry")]
        command += ["--config", str(tmp_path / "config.json")]
        made = []
        for number in range(10):
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            assert process.stderr is not None
            assert "anchoring on log" in process.stderr.readline()
            made += submit(service, 1 + number % 4)
            process.kill()
            process.communicate()
        work(worker(service, manager, Pace(2, 0), later_s=600))
        require_anchored(service, manager, made, tmp_path / "out")
    finally:
        service.close()


def test_stopping_a_worker(tmp_path: Path) -> None:
    service = Service(tmp_path / "registry")
    service.close()
    (tmp_path / "config.json").write_text(LOG)
    command = [MRV, "worker", "--base-dir", str(tmp_path / "registry"), "--config", str(tmp_path / "config.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "anchoring on log" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(30) == 0
    assert rest == "0 records wait for a batch, 0 batches are not final\n"
