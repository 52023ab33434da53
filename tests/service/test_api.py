# SPDX-License-Identifier: MIT
"""The registry over HTTP, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from mrv_core.config import load_config
from mrv_core.manager import BlockchainManager
from mrv_core.models import ReceiptState
from mrv_core.mrv.record import generate_mrv_id
from mrv_core.mrv.storage import RecordReceipts
from mrv_core.registry import Registry
from mrv_service import database, limits, tables, tokens
from mrv_service.database import CONNECTIONS
from mrv_service.tokens import Scope
from tests.mrv.making import record_value, steady

from .conftest import Service, record

GOLDEN = Path(__file__).parents[1] / "bundles" / "golden" / "bundle-1"
SAMPLES = b"".join(line + b"\n" for line in steady(20).lines)


def problem(response: Any, status: int) -> dict[str, Any]:
    """Return the problem document that a response must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} <= document.keys()
    return document


# Records.


def test_a_record_is_kept_byte_by_byte(service: Service) -> None:
    made = record()
    data = made.to_bytes()
    submitted = service.submit(data)
    assert submitted.status_code == 201
    assert submitted.headers["location"] == f"/api/v1/records/{made.mrv_id}"
    summary = submitted.json()
    assert summary["hash"] == made.hash.hex
    assert summary["experiment_name"] == made.experiment.experiment_name
    assert (summary["energy_uwh"], summary["networks"], summary["has_samples"]) == (made.energy.total_uwh, [], False)
    assert service.get(f"records/{made.mrv_id}").json() == summary

    content = service.get(f"records/{made.mrv_id}/content")
    assert content.content == data
    assert content.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert content.headers["x-content-type-options"] == "nosniff"
    unchanged = service.get(f"records/{made.mrv_id}/content", **{"If-None-Match": content.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")

    again = service.submit(data)
    assert (again.status_code, again.json()) == (200, summary)


def test_another_record_of_the_same_id_is_refused_and_noted(service: Service) -> None:
    made = record()
    service.submit(made.to_bytes())
    other = record(made.mrv_id, training={"epochs": 9, "batch_size": 1, "framework": None})
    for _ in range(2):
        refused = problem(service.submit(other.to_bytes()), 409)
        assert (refused["registered"], refused["submitted"]) == (made.hash.hex, other.hash.hex)
        assert "supersedes" in refused["hint"]
    assert service.get(f"records/{made.mrv_id}/content").content == made.to_bytes()
    with service.database.read() as connection:
        rows = connection.execute(select(tables.conflicts)).all()
    assert [(row.mrv_id, row.hash) for row in rows] == [(made.mrv_id, other.hash.hex)]


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_nothing_is_changed_or_deleted(service: Service, method: str) -> None:
    made = record()
    service.submit(made.to_bytes())
    path = f"/api/v1/records/{made.mrv_id}"
    problem(service.client.request(method, path, headers=service.writer), 405)
    problem(service.client.request("PUT", path, headers=service.writer), 405)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{}", "not an MRV record"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"mrv_id":"a","mrv_id":"a"}', "twice"),
        (b"\xff\xfe", ""),
        (b'{"schema_version":"9.9","mrv_id":"a"}', "9.9"),
    ],
)
def test_what_is_no_record_is_refused(service: Service, data: bytes, said: str) -> None:
    assert said in problem(service.submit(data), 422)["detail"]


def test_a_record_that_cannot_be_right_is_refused(service: Service) -> None:
    value = record_value(steady(20), mrv_id=generate_mrv_id())
    value["energy"]["total_uwh"] += 1
    from mrv_core.canonical import canonical_bytes

    assert "energy.total_uwh" in problem(service.submit(canonical_bytes(value)), 422)["detail"]
    whole = record().to_bytes()
    assert "canonical" in problem(service.submit(whole + b"\n"), 422)["detail"]
    slash = record("MRV/1").to_bytes()
    problem(service.submit(slash), 422)


def test_unknown_ids(service: Service) -> None:
    for path in ("", "/content", "/receipts", "/samples"):
        problem(service.get(f"records/MRV-nobody{path}"), 404)
    problem(service.get(f"bundles/{'0' * 64}"), 404)
    problem(service.get(f"bundles/{'0' * 64}/content"), 404)
    problem(service.get("bundles/nohash"), 422)
    problem(service.get("nothing"), 404)


def test_two_at_once_are_one_record(service: Service) -> None:
    """However many submit it, of one id there is one record, and everybody hears which."""
    one, other = record(), None
    other = record(one.mrv_id, training={"epochs": 9, "batch_size": 1, "framework": None})
    answers: list[tuple[int, str]] = []

    def submit(data: bytes) -> None:
        answer = service.submit(data)
        answers.append((answer.status_code, answer.json().get("hash") or answer.json()["registered"]))

    threads = [threading.Thread(target=submit, args=(each.to_bytes(),)) for each in (one, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(status for status, _ in answers)
    assert statuses == [200] * 3 + [201] + [409] * 4
    assert len({kept for _, kept in answers}) == 1


# Lists.


def test_pages_of_a_list(service: Service) -> None:
    ids = [record(f"MRV-{number}") for number in range(7)]
    for each in ids:
        service.submit(each.to_bytes())
    seen, cursor = [], ""
    while True:
        page = service.get(f"records?limit=3{cursor}").json()
        seen += [item["mrv_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [f"MRV-{number}" for number in reversed(range(7))]
    problem(service.get("records?cursor=x"), 422)
    problem(service.get("records?limit=0"), 422)


def test_searching(service: Service) -> None:
    names = [("Résumé 100%", "MLP", "digits"), ("other_one", "ResNet", "CIFAR-10"), ("a\0b", "MLP", "x" * 1000)]
    made = []
    for experiment, model, dataset in names:
        value = {"experiment_name": experiment, "model_name": model, "dataset_name": dataset}
        made.append(record(experiment=value))
        assert service.submit(made[-1].to_bytes()).status_code == 201

    def found(query: str) -> set[int]:
        items = service.get(f"records?{query}").json()["items"]
        ids = [each.mrv_id for each in made]
        return {ids.index(item["mrv_id"]) for item in items}

    assert found("q=resnet") == {1}
    assert found("q=100%25") == {0}
    assert found("q=r_one") == {1}
    assert found("q=othe__one") == set()
    assert found("q=%25") == {0}
    assert found("model=MLP") == {0, 2}
    assert found("model=mlp") == set()
    assert found("dataset=CIFAR-10&q=other") == {1}
    assert found(f"hash={made[2].hash.hex}") == {2}
    assert found("status=completed") == {0, 1, 2}
    assert found("status=interrupted") == set()
    assert found(f"q={made[0].mrv_id[4:12]}") == {0}


# Samples and receipts.


@pytest.mark.parametrize("query", ["records?q", "records?experiment", "bundles?q", "bundles?run_id"])
def test_a_text_with_a_nul_is_refused(service: Service, query: str, caplog: pytest.LogCaptureFixture) -> None:
    problem(service.get(f"{query}=%00secret"), 422)
    assert "secret" not in caplog.text.replace("%00secret", "")  # httpx logs its own request


def test_samples_are_those_that_the_record_commits_to(service: Service) -> None:
    made = record()
    service.submit(made.to_bytes())
    path = f"records/{made.mrv_id}/samples"
    problem(service.get(path), 404)
    wrong = SAMPLES.replace(b"20000", b"20001", 1)
    assert "line" in problem(service.put(path, wrong), 422)["detail"]
    problem(service.put(path, b"nonsense"), 422)
    for _ in range(2):
        answer = service.put(path, SAMPLES)
        assert answer.status_code == 200, answer.text
        assert answer.json()["has_samples"] is True
    assert service.get(path).content == SAMPLES


@pytest.fixture
def anchored(tmp_path: Path) -> tuple[Any, RecordReceipts]:
    """A record that is anchored on two embedded networks."""
    made = record()
    registry = Registry.load()
    config = load_config({"blockchain": {"networks": ["log", "ipfs"]}}, registry=registry, environment={})
    with BlockchainManager(config, base_dir=tmp_path / "mrv", registry=registry) as manager:
        outcomes = manager.anchor(made.hash, {"mrv_id": made.mrv_id})
    receipts = {name: outcome.receipt for name, outcome in outcomes.items() if outcome.receipt is not None}
    assert len(receipts) == 2
    return made, RecordReceipts(mrv_id=made.mrv_id, commitment=made.hash, receipts=receipts)


def test_receipts_are_checked_and_added_up(service: Service, anchored: tuple[Any, RecordReceipts]) -> None:
    made, held = anchored
    service.submit(made.to_bytes())
    path = f"records/{made.mrv_id}/receipts"
    problem(service.get(path), 404)
    for name in held.receipts:
        one = held.model_copy(update={"receipts": {name: held.receipts[name]}})
        assert service.put(path, one.to_bytes()).status_code == 200
    assert service.get(f"records/{made.mrv_id}").json()["networks"] == ["ipfs", "log"]
    assert service.get(path).content == held.to_bytes()

    other = record()
    service.submit(other.to_bytes())
    problem(service.put(f"records/{other.mrv_id}/receipts", held.to_bytes()), 422)
    receipt = held.receipts["log"]
    forged = receipt.model_copy(update={"evidence": {**receipt.evidence, "index": 99}})
    wrong = held.model_copy(update={"receipts": {"log": forged}})
    assert "receipt of log" in problem(service.put(path, wrong.to_bytes()), 422)["detail"]
    unknown = held.model_copy(update={"receipts": {"log": receipt.model_copy(update={"driver": "nonesuch"})}})
    assert "driver is not known" in problem(service.put(path, unknown.to_bytes()), 422)["detail"]
    waits = {"driver": "bitcoin", "reference": "ab" * 32, "state": ReceiptState.PENDING, "evidence": {}}
    of = {"network_id": "bip122:0f9188f13cb7b2c71f2a335e3a4fc328", "embedded": False, "block_time": None}
    earlier = receipt.model_copy(update={**waits, **of})
    before = held.model_copy(update={"receipts": {"log": earlier}})
    assert service.put(path, before.to_bytes()).status_code == 200
    assert service.get(path).content == held.to_bytes(), "what is further along stays"
    problem(service.put(path, b"{}"), 422)
    for name in ("l\0g", "log\nethereum"):
        wrong = held.model_copy(update={"receipts": {name: receipt}})
        assert "name a network" in problem(service.put(path, wrong.to_bytes()), 422)["detail"]
    assert service.get(path).content == held.to_bytes()


def test_only_who_submitted_a_record_adds_to_it(service: Service, anchored: tuple[Any, RecordReceipts]) -> None:
    """Receipts of others could hold by themselves, and be of a log of their own under the same name."""
    made, held = anchored
    service.submit(made.to_bytes())
    others = service.token(Scope.WRITE, name="another lab")
    service.client.post("/api/v1/records", content=made.to_bytes(), headers=others)  # again: it stays the first one's
    samples = b"".join(line + b"\n" for line in steady(20).lines)
    for what, data in (("receipts", held.to_bytes()), ("samples", samples)):
        path = f"records/{made.mrv_id}/{what}"
        assert "another token submitted" in problem(service.put(path, data, **others), 403)["detail"]
        problem(service.get(path), 404)
        assert service.put(path, data, **service.token(Scope.WRITE)).status_code == 200, "a new token of the same name"


def test_who_submitted_a_record_replaces_even_what_is_final(
    service: Service, anchored: tuple[Any, RecordReceipts], tmp_path: Path
) -> None:
    """Its block may not be in the chain any more."""
    made, held = anchored
    service.submit(made.to_bytes())
    path = f"records/{made.mrv_id}/receipts"
    assert service.put(path, held.to_bytes()).status_code == 200
    config = load_config({"blockchain": {"networks": ["log"]}}, environment={})
    with BlockchainManager(config, base_dir=tmp_path / "another") as manager:
        receipt = manager.anchor(made.hash, {"mrv_id": made.mrv_id})["log"].receipt
    assert receipt is not None
    again = held.model_copy(update={"receipts": {"log": receipt}})
    assert service.put(path, again.to_bytes()).status_code == 200
    now = RecordReceipts.from_bytes(service.get(path).content, what="receipts")
    assert now.receipts == {"ipfs": held.receipts["ipfs"], "log": receipt}


def test_receipts_that_come_at_once_are_all_kept(
    new_service: Callable[..., Service], anchored: tuple[Any, RecordReceipts]
) -> None:
    """Two servers on one database, each asked for the same and for other things at the same moment."""
    made, held = anchored
    services = [new_service(), new_service()]
    services[0].submit(made.to_bytes())
    path = f"records/{made.mrv_id}/receipts"
    ones = [held.model_copy(update={"receipts": {name: held.receipts[name]}}).to_bytes() for name in held.receipts]
    for each in services:
        each.put(path, b"{}")  # the framework sets routes up when they are first asked for
    for _ in range(10):
        with services[0].database.write() as connection:
            connection.execute(delete(tables.receipts))
        ready, statuses = threading.Barrier(4), []

        def put(service: Service, data: bytes, ready: threading.Barrier, statuses: list[int]) -> None:
            ready.wait()
            statuses.append(service.put(path, data, **services[0].writer).status_code)

        threads = [
            threading.Thread(target=put, args=(service, data, ready, statuses)) for service in services for data in ones
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 4
        assert services[0].get(path).content == held.to_bytes()


def test_what_was_lost_comes_back(service: Service) -> None:
    """Also under the same key; something else under its id does not."""
    made, key, other_key = record(), {"Idempotency-Key": "k1"}, {"Idempotency-Key": "k2"}
    bundle = (GOLDEN / "real.mrv.json").read_bytes()

    def submit_both() -> list[int]:
        answer = service.client.post("/api/v1/bundles", content=bundle, headers={**service.writer, **other_key})
        return [service.submit(made.to_bytes(), **key).status_code, answer.status_code]

    assert submit_both() == [201, 201]
    head = service.get("log").json()
    with service.database.write() as connection:
        connection.execute(delete(tables.records))
        connection.execute(delete(tables.bundles))
    other = record(made.mrv_id, training={"epochs": 3, "batch_size": 128, "framework": "PyTorch"})
    assert "had the id" in problem(service.submit(other.to_bytes()), 409)["detail"]
    assert submit_both() == [201, 201]
    assert service.get(f"records/{made.mrv_id}/content").content == made.to_bytes()
    assert service.get("log").json() == head


def test_receipts_stay_small_enough_to_be_read(
    service: Service, anchored: tuple[Any, RecordReceipts], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, held = anchored
    service.submit(made.to_bytes())
    monkeypatch.setattr("mrv_service.records.MAX_RECEIPTS_BYTES", len(held.to_bytes()))
    path = f"records/{made.mrv_id}/receipts"
    assert service.put(path, held.to_bytes()).status_code == 200
    more = held.model_copy(update={"receipts": {"another": held.receipts["log"]}})
    problem(service.put(path, more.to_bytes()), 413)
    assert service.get(path).content == held.to_bytes()


# Bundles.


def test_a_bundle_is_kept_byte_by_byte(service: Service) -> None:
    data = (GOLDEN / "real.mrv.json").read_bytes()
    name = hashlib.sha256(data).hexdigest()
    answer = service.client.post("/api/v1/bundles", content=data, headers=service.writer)
    assert (answer.status_code, answer.json()["hash"]) == (201, name)
    assert answer.headers["location"] == f"/api/v1/bundles/{name}"
    assert service.client.post("/api/v1/bundles", content=data, headers=service.writer).status_code == 200
    assert service.get(f"bundles/{name}/content").content == data
    run_id = json.loads(data)["run_id"]
    assert [item["hash"] for item in service.get(f"bundles?run_id={run_id}").json()["items"]] == [name]
    assert service.get("bundles?q=nothing-like-it").json() == {"items": [], "next": None}
    damaged = data.replace(b"sha256:", b"sha256;", 1)
    problem(service.client.post("/api/v1/bundles", content=damaged, headers=service.writer), 422)


# Who may do what.


def test_writing_needs_a_token_that_allows_it(service: Service) -> None:
    data = record().to_bytes()
    post = service.client.post
    missing = post("/api/v1/records", content=data)
    problem(missing, 401)
    assert missing.headers["www-authenticate"].startswith("Bearer")
    for text in ("mrv_0123456789ab_" + "A" * 43, "nonsense", "mrv__"):
        problem(post("/api/v1/records", content=data, headers={"Authorization": f"Bearer {text}"}), 401)
    problem(post("/api/v1/records", content=data, headers=service.token(Scope.READ)), 403)
    assert post("/api/v1/records", content=data, headers=service.token(Scope.WRITE)).status_code == 201


def test_a_revoked_token_allows_nothing(service: Service) -> None:
    token, text = tokens.create(service.database, "short", [Scope.WRITE])
    headers = {"Authorization": f"Bearer {text}"}
    assert service.client.post("/api/v1/records", content=record().to_bytes(), headers=headers).status_code == 201
    assert tokens.revoke(service.database, token.id)
    assert not tokens.revoke(service.database, token.id)
    problem(service.client.post("/api/v1/records", content=record().to_bytes(), headers=headers), 401)
    with service.database.read() as connection:
        row = connection.execute(select(tables.tokens).where(tables.tokens.c.id == token.id)).one()
    assert text.split("_", 2)[2] not in str(row)


def test_reading_is_public_or_private(new_service: Callable[..., Service]) -> None:
    service = new_service(reads="private")
    made = record()
    service.submit(made.to_bytes())
    for path in ("/api/v1/records", f"/api/v1/records/{made.mrv_id}/content"):
        problem(service.client.get(path), 401)
        problem(service.client.get(path, headers=service.token(Scope.WRITE)), 403)
        assert service.client.get(path, headers=service.token(Scope.READ)).status_code == 200
    assert service.get(f"records/{made.mrv_id}/content").headers["cache-control"].startswith("private, ")
    service = new_service(reads="public")
    for headers in ({}, service.token(Scope.WRITE)):
        assert service.client.get(f"/api/v1/records/{made.mrv_id}", headers=headers).json()["hash"] == made.hash.hex
    problem(service.client.get(path, headers={"Authorization": "Bearer made-up"}), 401)
    assert service.get(f"records/{made.mrv_id}/content").headers["cache-control"].startswith("public, ")


# Keys, sizes, rates.


def test_idempotency_keys(service: Service) -> None:
    one, other = record(), record()
    first = service.submit(one.to_bytes(), **{"Idempotency-Key": "k1"})
    again = service.submit(one.to_bytes(), **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    problem(service.submit(other.to_bytes(), **{"Idempotency-Key": "k1"}), 422)
    problem(service.submit(other.to_bytes(), **{"Idempotency-Key": "with space"}), 400)
    answer = service.client.post(
        "/api/v1/records",
        content=other.to_bytes(),
        headers={**service.token(Scope.WRITE), "Idempotency-Key": "k1"},
    )
    assert answer.status_code == 201, "every token has keys of its own"


def test_a_request_that_is_too_large(new_service: Callable[..., Service]) -> None:
    service = new_service(max_body_bytes=2000)
    problem(service.submit(b"x" * 2001), 413)

    def chunks() -> Any:
        yield from (b"x" * 500 for _ in range(5))

    answer = service.client.post("/api/v1/records", content=chunks(), headers=service.writer)
    problem(answer, 413)
    problem(service.submit(b"x" * 2000), 422)


def test_a_body_that_takes_too_long(new_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_BODY_S", 0.05)
    service = new_service()
    status, document = run(Upload(service).finish)
    assert (status, document["title"]) == (408, "Request Timeout")


def test_large_bodies_share_some_memory(new_service: Callable[..., Service]) -> None:
    service = new_service(max_body_bytes=400_000)

    async def upload() -> list[int]:
        """Two that are large come in slowly, one that is small, and another large one; the first two end."""
        slow = [Upload(service) for _ in range(2)]
        tasks = [asyncio.create_task(each.finish()) for each in slow]
        for each in slow:
            await each.send(b"x" * 390_000)
        small, large = Upload(service), Upload(service)
        await small.send(b"x" * 100, is_last=True)
        await large.send(b"x" * 390_000, is_last=True)
        answers = [await small.finish(), await large.finish()]
        for each in slow:
            await each.send(b"x", is_last=True)
        answers += [await task for task in tasks]
        last = Upload(service)
        await last.send(b"x" * 390_000, is_last=True)
        answers.append(await last.finish())
        return [status for status, _ in answers]

    assert run(upload) == [422, 503, 422, 422, 422]


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run something asynchronous in a thread of its own: in this one the browser of other tests has a loop."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(work())).result()


def test_slow_large_bodies_keep_no_small_ones_out(new_service: Callable[..., Service]) -> None:
    service = new_service(max_body_bytes=400_000)

    async def upload() -> list[int]:
        slow = [Upload(service) for _ in range(2)]
        tasks = [asyncio.create_task(each.finish()) for each in slow]
        for each in slow:
            await each.send(b"x" * 399_999)
        small = Upload(service)
        await small.send(record().to_bytes(), is_last=True)
        status, _ = await small.finish()
        for each in slow:
            await each.send(b"x", is_last=True)
        await asyncio.gather(*tasks)
        return [status]

    assert run(upload) == [201]


def test_a_route_with_a_slash_too_many_leads_nowhere(service: Service) -> None:
    answer = service.client.get("/api/v1/records/", headers={"Host": "evil.example"}, follow_redirects=False)
    problem(answer, 404)
    assert "location" not in answer.headers


def test_a_verification_edited_by_hand_is_said(service: Service) -> None:
    made = record()
    service.submit(made.to_bytes())
    path = f"/api/v1/records/{made.mrv_id}/verification"
    assert service.client.post(path, headers=service.writer).status_code == 202
    with service.database.write() as connection:
        connection.execute(tables.verifications.update().values(verdict="NONSENSE"))
    problem(service.client.get(path), 503)


def test_whoever_holds_the_writing_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that stopped in the middle of its turn costs writers an error, and readers nothing."""
    service = Service(tmp_path / "registry")
    made = record()
    service.submit(made.to_bytes())
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_MS", 200)
    holds = f"import fcntl, os, sys; fcntl.flock(os.open({str(tmp_path / 'registry')!r}, os.O_RDONLY), fcntl.LOCK_EX)"
    command = [sys.executable, "-c", f"{holds}; print('held', flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        problem(service.submit(record().to_bytes()), 503)
        assert service.get(f"records/{made.mrv_id}").status_code == 200
        other.communicate()
    assert service.submit(record().to_bytes()).status_code == 201
    service.close()


class Upload:
    """A request whose body comes piece by piece, straight to the application."""

    def __init__(self, service: Service) -> None:
        self._app = service.app
        self._pieces: asyncio.Queue[Any] = asyncio.Queue()
        self._taken = asyncio.Event()
        headers = [(b"authorization", service.writer["Authorization"].encode())]
        self._scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"},
            **{"path": "/api/v1/records", "raw_path": b"/api/v1/records", "query_string": b"", "root_path": ""},
            **{"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)},
        }

    async def send(self, data: bytes, *, is_last: bool = False) -> None:
        await self._pieces.put({"type": "http.request", "body": data, "more_body": not is_last})
        if not is_last:
            await asyncio.wait_for(self._taken.wait(), 30)

    async def finish(self) -> tuple[int, dict[str, Any]]:
        status, body = 0, b""

        async def receive() -> Any:
            message = await self._pieces.get()
            asyncio.get_running_loop().call_soon(self._taken.set)
            return message

        async def send(message: Any) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")

        await self._app(self._scope, receive, send)
        return status, json.loads(body)


def test_too_many_requests(new_service: Callable[..., Service]) -> None:
    service = new_service(rate_per_minute=5)
    statuses = [service.client.get("/api/v1/records").status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    refused = service.client.get("/api/v1/records")
    problem(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert service.client.get("/healthz").status_code == 200


def test_other_pages_may_not_read_unless_named(new_service: Callable[..., Service]) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    closed = new_service()
    assert "access-control-allow-origin" not in closed.client.get("/api/v1/records", headers=origin).headers
    opened = new_service(cors_origins=("https://elsewhere.example",))
    answer = opened.client.get("/api/v1/records", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"
    other = opened.client.get("/api/v1/records", headers={"Origin": "https://third.example"})
    assert "access-control-allow-origin" not in other.headers


# Operation.


def test_the_page_is_served(service: Service) -> None:
    answer = service.client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-frame-options"] == "DENY"
    assert "Content-Security-Policy" in answer.text


def test_health_and_metrics(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mrv_service.access")
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").json() == {"status": "ready"}
    service.submit(record("MRV-secret").to_bytes())
    service.get("records/MRV-secret")
    service.client.get("/made/up/path")
    text = service.client.get("/metrics").text
    assert 'mrv_requests_total{method="POST",route="/api/v1/records",status="201"} 1.0' in text
    assert 'route="/api/v1/records/{mrv_id}"' in text
    assert "made" not in text
    lines = [vars(entry)["mrv"] for entry in caplog.records]
    assert {"method", "route", "status", "ms"} == set(lines[0])
    assert service.writer["Authorization"] not in str(lines)
    assert "MRV-secret" not in str(lines)


def test_a_database_that_is_gone_is_said_and_survived(service: Service) -> None:
    made = record()
    service.submit(made.to_bytes())
    before = service.database.engine
    from sqlalchemy import create_engine

    service.database.engine = create_engine("postgresql+psycopg://mrv:hunter2@/none?host=/nowhere&connect_timeout=1")
    for path in ("/readyz", "/api/v1/records"):
        answer = service.client.get(path)
        problem(answer, 503)
        assert "hunter2" not in answer.text
    assert service.client.get("/healthz").status_code == 200
    service.database.engine = before
    assert service.get(f"records/{made.mrv_id}").status_code == 200


def test_a_database_with_too_much_to_do_is_said(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = service.database.engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.1)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(service.database.engine.connect())
        problem(service.get("records"), 503)
    assert service.get("records").status_code == 200


def test_what_was_kept_is_there_after_a_restart(new_service: Callable[..., Service]) -> None:
    made = record()
    new_service().submit(made.to_bytes())
    assert new_service().get(f"records/{made.mrv_id}/content").content == made.to_bytes()
