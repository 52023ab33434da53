# SPDX-License-Identifier: MIT
"""A real registry under attack: it goes on answering, within its memory, and does nothing that it should not."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import func, select

from mrv_core.config import load_config
from mrv_core.manager import BlockchainManager
from mrv_core.models import utc_now
from mrv_core.mrv.storage import RecordReceipts
from mrv_core.registry import Registry
from mrv_service import tables
from mrv_service.watcher import Watcher
from mrv_service.worker import Pace, Worker

from .conftest import Service, record

MRV = str(Path(sys.executable).with_name("mrv"))
BUNDLE = Path(__file__).parents[1] / "bundles" / "golden" / "bundle-1" / "embedded.mrv.json"
DAY = timedelta(days=1)
MAX_RSS = 300 * 1024 * 1024
CONNECTIONS = 10_000
INJECTIONS = [
    "' OR '1'='1",
    "'; DROP TABLE records; --",
    '" UNION SELECT hash FROM tokens --',
    "1) OR 1=1",
    "%' OR 1=1 --",
    "\\",
    "%",
    "_",
    "*",
    'NEAR("a" "b")',
    "MATCH",
]


class Running:
    """`mrv serve` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str, token: str) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.headers = {"Authorization": f"Bearer {token}"}

    def memory(self) -> int:
        """Return the bytes of memory that are its own and in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def require_well(self) -> None:
        assert self.process.poll() is None
        assert self.memory() < MAX_RSS
        made = record()
        answer = httpx.post(f"{self.url}/api/v1/records", content=made.to_bytes(), headers=self.headers, timeout=30)
        assert answer.status_code == 201
        assert httpx.get(f"{self.url}/api/v1/records/{made.mrv_id}/content").content == made.to_bytes()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Running]:
    base = ["--base-dir", str(tmp_path / "registry")]
    made = subprocess.run([MRV, "token", "create", "t", "--scope", "write", *base], capture_output=True, text=True)
    command = [MRV, "serve", "--port", "0", "--rate", "1000000", *base]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log, text=True) as process:
        try:
            yield Running(process, _url_in(process, tmp_path / "log"), made.stdout.strip())
        finally:
            process.kill()


def _url_in(process: subprocess.Popen[str], log: Path) -> str:
    """Wait for the address in a log, which is no pipe: that would fill up, and the registry with it."""
    while True:
        assert process.poll() is None, log.read_text()
        found = re.search(r"http://127.0.0.1:\d+", log.read_text())
        if found is not None:
            return found[0]
        time.sleep(0.05)


def test_bodies_that_are_too_much(registry: Running) -> None:
    """A hundred megabytes, as said and as sent; a hundred thousand levels; a document of another kind."""
    huge = b"x" * (100 * 1024 * 1024)

    def chunks() -> Iterator[bytes]:
        for _ in range(1600):
            yield b"x" * 65536

    with httpx.Client(base_url=registry.url, headers=registry.headers, timeout=60) as client:
        for body in (huge, chunks()):
            try:
                assert client.post("/api/v1/records", content=body).status_code == 413
            except httpx.WriteError:
                pass  # it closed the connection before all of it was sent
        for body in (b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"\xff\xfe", b""):
            assert client.post("/api/v1/records", content=body).status_code == 422
            assert client.post("/api/v1/bundles", content=body).status_code == 422
    registry.require_well()


def test_many_connections_that_say_little(registry: Running) -> None:
    """Ten thousand that each begin a request and never end it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(CONNECTIONS, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    with ExitStack() as stack:
        for number in range(count):
            source = f"127.0.0.{2 + number % 4}"
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", registry.port), 30, (source, 0)))
            connection.sendall(b"POST /api/v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        registry.require_well()
    registry.require_well()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_page_elsewhere_cannot_make_a_browser_write(registry: Running, method: str) -> None:
    """What a browser sends by itself, a cookie, allows nothing; a script elsewhere may not send more (CORS)."""
    made = record()
    path = "/api/v1/records" if method == "POST" else f"/api/v1/records/{made.mrv_id}/samples"
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain", "Cookie": f"token={registry.headers}"}
    answer = httpx.request(method, f"{registry.url}{path}", content=made.to_bytes(), headers=headers)
    assert answer.status_code == 401
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": method}
    asked["Access-Control-Request-Headers"] = "authorization"
    preflight = httpx.options(f"{registry.url}{path}", headers=asked)
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


class Ear:
    """A port that counts who comes."""

    def __init__(self) -> None:
        self.heard = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return
            self.heard += 1

    def close(self) -> None:
        self._socket.close()


def _texts(value: Any, put: Callable[[Any], None]) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Return each text in a JSON value, and what puts another in its place."""
    if isinstance(value, str):
        yield value, put
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _texts(each, lambda new, value=value, key=key: value.__setitem__(key, new))


def test_no_address_in_a_document_is_ever_asked(service: Service, tmp_path: Path) -> None:
    """A URL in the place of each text of a record, receipts and a bundle; worker and watcher look at what is taken."""
    ear = Ear()
    urls = [
        f"http://127.0.0.1:{ear.port}/x",
        f"http://[::ffff:127.0.0.1]:{ear.port}/",
        f"http://2130706433:{ear.port}/",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
    ]
    known = Registry.load()
    config = load_config({"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}, registry=known)
    with BlockchainManager(config, base_dir=tmp_path / "registry", registry=known) as manager:
        made = record()
        service.submit(made.to_bytes())
        outcome = manager.anchor(made.hash, {"mrv_id": made.mrv_id})["log"]
        assert outcome.receipt is not None
        held = RecordReceipts(mrv_id=made.mrv_id, commitment=made.hash, receipts={"log": outcome.receipt})
        bundle = json.loads(BUNDLE.read_bytes())
        sent = 0
        for document, send in (
            (made.to_json(), lambda data: service.submit(data)),
            (held.to_json(), lambda data: service.put(f"records/{made.mrv_id}/receipts", data)),
            (bundle, lambda data: service.client.post("/api/v1/bundles", content=data, headers=service.writer)),
        ):
            for number, (before, put) in enumerate(list(_texts(document, lambda _: None))):
                put(urls[number % len(urls)])
                assert send(json.dumps(document).encode()).status_code < 500
                put(before)
                sent += 1
        assert sent > 50
        for path in ("records", "bundles"):
            for url in urls:
                for name in ("rpc_url", "url", "gateway", "registry_url"):
                    assert service.client.get(f"/api/v1/{path}", params={name: url}).status_code in (200, 422)
        worker = Worker(service.database, manager, "worker", Pace(1000, 0))
        while worker.step():
            pass
        watcher = Watcher(service.database, manager, known, "watcher", DAY, [], utc_now)
        watcher.enrol()
        while watcher.verify_next():
            pass
    ear.close()
    assert ear.heard == 0


def test_texts_that_mean_something_to_a_database(service: Service, vectors: Callable[[str], Path]) -> None:
    """As searches, filters, cursors and ids: nothing breaks, and nothing is changed or shown."""
    service.submit(record().to_bytes())
    before = counted(service)
    naughty = json.loads((vectors("blns") / "blns.json").read_text(encoding="utf-8"))
    names, paths = ("experiment", "cursor", "status", "hash"), ("records/{}", "bundles/{}", "records/{}/verification")
    for number, text in enumerate([*INJECTIONS, *naughty]):
        for name in names if text in INJECTIONS else (names[number % len(names)],):
            assert service.client.get("/api/v1/records", params={name: text}).status_code in (200, 422), text
        found = service.client.get("/api/v1/records", params={"q": text})
        assert found.status_code in (200, 422), text
        if found.status_code == 200:
            assert all(text.lower() in json.dumps(each).lower() for each in found.json()["items"]), text
        path = paths[number % len(paths)].format(quote(f"x{text}", safe=""))
        assert service.client.get(f"/api/v1/{path}").status_code in (404, 422), text
    assert counted(service) == before


def counted(service: Service) -> dict[str, int]:
    with service.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }


def test_naughty_texts_as_names_come_back_as_they_are(service: Service, vectors: Callable[[str], Path]) -> None:
    naughty = [each for each in json.loads((vectors("blns") / "blns.json").read_text(encoding="utf-8")) if each]
    for number in range(0, len(naughty) - 2, 3):
        keys = ("experiment_name", "model_name", "dataset_name")
        names = dict(zip(keys, naughty[number : number + 3], strict=True))
        made = record(experiment=names)
        answer = service.submit(made.to_bytes())
        assert answer.status_code == 201, names
        assert {key: answer.json()[key] for key in keys} == names
        assert made.mrv_id in service.client.get("/api/v1/records", params={"model": names["model_name"]}).text


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "99999999999999999999", "1e3", "NaN", "a"])
def test_page_sizes_that_are_none(service: Service, limit: str) -> None:
    assert service.client.get("/api/v1/records", params={"limit": limit}).status_code == 422


@pytest.mark.parametrize("mrv_id", ["a" * 60_000, "MRV-" + "0" * 50_000 + "!", "-" * 128, "%00", "..%2f..%2fetc"])
def test_ids_that_are_none(service: Service, mrv_id: str) -> None:
    assert service.client.get(f"/api/v1/records/{mrv_id}").status_code in (404, 422)
