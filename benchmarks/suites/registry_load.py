# SPDX-License-Identifier: MIT
"""A registry under load: what it takes and gives a second, beside a bare one; what it keeps where it is killed.

Servers, workers and the load are processes of their own, on this machine.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from pydantic import SecretStr
from sqlalchemy import func, select

from benchmarks.bench import Bench
from benchmarks.rows import Goal, Row, number, seconds
from benchmarks.worker import Worker
from mrv_core import MRVTracker
from mrv_core.canonical import parse_json
from mrv_core.errors import BackendUnavailableError
from mrv_devnet.ports import free_ports
from mrv_devnet.postgres import PostgresServer
from mrv_service import tables, tokens
from mrv_service.database import Database
from mrv_service.settings import ServiceSettings
from mrv_service.tokens import Scope

_MRV: Final = str(Path(sys.executable).with_name("mrv"))
_WORKERS: Final = Path(__file__).parents[1] / "workers"
_PROCESSES: Final = 2
_CONNECTIONS: Final = 32
_READS_RATE: Final = 1000.0
_WRITES_RATE: Final = 200.0
_KILLED_RATE: Final = 20.0
"""Records a second that come while workers are killed."""
_READ: Final = "/api/v1/records/{id}/content"
_ID: Final = "MRV-00000000-0000-4000-8000-000000000000"
_CONFIG: Final = {"blockchain": {"networks": ["log"], "log": {"driver": "log"}}}
_START_S: Final = 60.0
_WARM_UP_S: Final = 2.0
"""Of requests at a tenth of the rate: what a process does once, it does then."""
_FEW: Final = 500
"""Records that reads are spread over."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A registry in a folder, with its database."""

    folder: Path
    url: str | None

    def environment(self) -> dict[str, str]:
        return {**os.environ, **({} if self.url is None else {"MRV_DATABASE_URL": self.url})}

    @contextmanager
    def database(self) -> Iterator[Database]:
        secret = None if self.url is None else SecretStr(self.url)
        made = Database(ServiceSettings(base_dir=self.folder, database_url=secret).url)
        made.upgrade()
        yield made
        made.close()

    def new_token(self) -> str:
        with self.database() as database:
            return tokens.create(database, "load", [Scope.WRITE])[1]

    @contextmanager
    def served(self) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        (port,) = free_ports(1)
        command = [_MRV, "serve", "--port", str(port), "--processes", str(_PROCESSES), "--rate", "10000000"]
        command += ["--base-dir", str(self.folder)]
        with _running(command, port, self.folder / "serve.log", self.environment(), "/readyz") as started:
            yield started

    def run(self, *arguments: str) -> float:
        """Run a command of `mrv` on it to its end, and return the seconds that it took."""
        config = self.folder / "config.json"
        config.write_text(json.dumps(_CONFIG))
        command = [_MRV, *arguments, "--base-dir", str(self.folder), "--config", str(config)]
        start = time.perf_counter()
        subprocess.run(command, env=self.environment(), check=True, capture_output=True)
        return time.perf_counter() - start


def rows(bench: Bench) -> Iterator[Row]:
    """Put both databases under load, and kill what can be killed."""
    with ExitStack() as stack:
        load = stack.enter_context(Worker("load", folder=bench.folder))
        load.call("prepare", _template(bench.folder))
        yield from _load(bench, load, "SQLite", lambda: None)
        yield _kills(bench, load, "SQLite", None)
        try:
            server = stack.enter_context(PostgresServer(durable=True))
        except BackendUnavailableError as error:
            yield Row("the same on PostgreSQL", "ms", problem=f"not measured: {error}")
        else:
            yield from _load(bench, load, "PostgreSQL", server.new_database)
            yield _kills(bench, load, "PostgreSQL", server.new_database())
        yield _one_batch(bench, load)


def _load(bench: Bench, load: Worker, name: str, new_url: Callable[[], str | None]) -> Iterator[Row]:
    place = _Place(_folder(bench, name), new_url())
    token = place.new_token()
    with place.served() as (url, process):
        written = _paced(bench, load, url, "", token, [], _WRITES_RATE)
        yield _latency(
            f"{name}: {_WRITES_RATE:.0f} records submitted a second, 99 % within", written, Goal("≤", 150), "201"
        )
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = _ids(place)
    lost = set(written["taken"]) - kept
    details = f"{len(written['taken'])} were acknowledged"
    yield Row(
        f"{name}: of these, lost where the server is killed right after",
        "records",
        (float(len(lost)),),
        Goal("≤", 0),
        details,
    )
    with place.served() as (url, _):
        known = sorted(kept)[:_FEW]
        read = _paced(bench, load, url, _READ, "", known, _READS_RATE)
    bare = _Place(_folder(bench, f"{name}-paced"), new_url())
    with _bare(bare) as (url, _):
        known = load.call("submit", url, token, _FEW, _CONNECTIONS).value
        least = _paced(bench, load, url, _READ, "", known, _READS_RATE)
    what = f"{name}: {_READS_RATE:.0f} records read a second, 99 % within"
    yield _latency(what, read, Goal("≤", 50), "200", f"; of a bare FastAPI route {seconds(least['p99'])}")
    for path, what in (("", "records submitted"), (_READ, "records read")):
        yield _beside_bare(bench, load, name, new_url, path, what)


def _paced(bench: Bench, load: Worker, url: str, path: str, token: str, known: list[str], rate: float) -> Any:
    """Warm a server up, and put it under load at a rate; see `paced` of the worker."""
    load.call("paced", url, path, token, known, rate / 10, _WARM_UP_S)
    return load.call("paced", url, path, token, known, rate, bench.sizes.load_s).value


def _latency(what: str, found: dict[str, Any], goal: Goal, wanted: str, beside: str = "") -> Row:
    others = {status: count for status, count in found["statuses"].items() if status != wanted}
    if others:
        return Row(what, "ms", goal=goal, problem=f"not all answers were {wanted}: {others}")
    details = f"half within {seconds(found['p50'])}, {number(found['rate'])} a second were answered{beside}"
    return Row(what, "ms", (found["p99"] * 1000,), goal, details)


def _beside_bare(bench: Bench, load: Worker, name: str, new_url: Callable[[], str | None], path: str, what: str) -> Row:
    """Compare with routes that only insert and read a row, each as fast as some connections can."""
    ours, bare = _Place(_folder(bench, f"{name}-ours"), new_url()), _Place(_folder(bench, f"{name}-bare"), new_url())
    token = ours.new_token()
    with ours.served() as (url, _), _bare(bare) as (bare_url, _):
        known = load.call("submit", url, token, _CONNECTIONS, _CONNECTIONS).value if path else []
        bare_known = load.call("submit", bare_url, token, _CONNECTIONS, _CONNECTIONS).value if path else []
        length = bench.sizes.load_s / 12
        rates = []
        for _ in range(bench.sizes.few):
            mine, theirs = (
                load.call("flat_out", each, path, token, ids, _CONNECTIONS, length).value
                for each, ids in ((url, known), (bare_url, bare_known))
            )
            for found in (mine, theirs):
                if set(found["statuses"]) != {"200" if path else "201"}:
                    raise RuntimeError(f"not all answers were as they should be: {found['statuses']}")
            rates.append((mine["rate"], theirs["rate"]))
    details = " against ".join(f"{number(median(each))} a second" for each in zip(*rates, strict=True))
    ratios = tuple(mine / theirs for mine, theirs in rates)
    return Row(
        f"{name}: {what} over {_CONNECTIONS} connections, against a bare FastAPI route", "x", ratios, None, details
    )


def _kills(bench: Bench, load: Worker, name: str, url: str | None) -> Row:
    """Kill workers at any moment while records come in; then let one finish, and verify everything."""
    place = _Place(_folder(bench, "kills"), url)
    token, chance = place.new_token(), random.Random(bench.seed)  # noqa: S311 - moments, no secrets
    config = place.folder / "config.json"
    config.write_text(json.dumps(_CONFIG))
    command = [_MRV, "worker", "--every-records", "5", "--after", "0", "--base-dir", str(place.folder)]
    command += ["--config", str(config)]
    taken: list[str] = []
    with place.served() as (address, _):
        is_over = threading.Event()

        def submit() -> None:
            while not is_over.is_set():
                found = load.call("paced", address, "", token, [], _KILLED_RATE, 1.0).value
                taken.extend(found["taken"])

        thread = threading.Thread(target=submit)
        thread.start()
        for _ in range(bench.sizes.kills):
            with subprocess.Popen(command, stderr=subprocess.PIPE, env=place.environment(), text=True) as process:
                if process.stderr is None or "anchoring on" not in process.stderr.readline():
                    raise RuntimeError("a worker did not start")
                time.sleep(chance.uniform(0, 0.5))
                process.kill()
        is_over.set()
        thread.join()
    with place.database() as database, database.write() as connection:
        # As if the time had passed that a killed worker's batch is still its own.
        connection.execute(tables.batches.update().values(due_at="2000-01-01T00:00:00Z"))
    place.run("worker", "--once", "--after", "0")
    place.run("watch", "--once")
    wrong = _not_anchored_once(place, taken)
    what = f"{name}: worker killed {bench.sizes.kills} times while records came: lost, not verified or anchored twice"
    return Row(what, "records", (float(wrong),), Goal("≤", 0), f"{len(taken)} records, {_count(place)} batches")


def _one_batch(bench: Bench, load: Worker) -> Row:
    """Anchor many records as one batch, and verify each by its own proof."""
    place = _Place(_folder(bench, "batch"), None)
    with place.served() as (url, _):
        taken = load.call("submit", url, place.new_token(), bench.sizes.records, _CONNECTIONS).value
    made_s = place.run("worker", "--once", "--after", "0", "--every-records", str(bench.sizes.records))
    verified_s = place.run("watch", "--once")
    wrong = _not_anchored_once(place, taken)
    if wrong or _count(place) != 1:
        raise RuntimeError(f"{wrong} of {len(taken)} records do not verify, in {_count(place)} batches")
    what = f"{bench.sizes.records:,} records in one batch, each verified"
    return Row(what, "records/s", (len(taken) / verified_s,), None, f"{seconds(made_s)} for the batch and its anchor")


def _not_anchored_once(place: _Place, taken: list[str]) -> int:
    """Return how many records are not there or not VALID, and how many anchors there are beside one for each batch."""
    with place.database() as database, database.read() as connection:
        kept = select(tables.verifications).where(tables.verifications.c.verdict == "VALID")
        valid = {row.name: parse_json(bytes(row.report), what="report") for row in connection.execute(kept)}
    sizes = [report["networks"][0]["facts"]["log_size"] for report in valid.values()]
    return len(set(taken) - set(valid)) + abs(max(sizes, default=0) - _count(place))


def _count(place: _Place) -> int:
    with place.database() as database, database.read() as connection:
        return connection.execute(select(func.count()).select_from(tables.batches)).scalar_one()


def _ids(place: _Place) -> set[str]:
    with place.database() as database, database.read() as connection:
        return set(connection.execute(select(tables.records.c.mrv_id)).scalars())


def _bare(place: _Place) -> AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]:
    (port,) = free_ports(1)
    environment = {**os.environ, "BARE_DATABASE_URL": place.url or f"sqlite:///{place.folder / 'bare.sqlite3'}"}
    subprocess.run([sys.executable, _WORKERS / "bare_registry.py"], env=environment, check=True)
    command = [sys.executable, "-m", "uvicorn", "bare_registry:app", "--app-dir", str(_WORKERS), "--port", str(port)]
    command += ["--workers", str(_PROCESSES), "--no-access-log", "--log-level", "warning"]
    return _running(command, port, place.folder / "bare.log", environment, "/openapi.json")


@contextmanager
def _running(
    command: list[str], port: int, log: Path, environment: dict[str, str], ready: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a server in a process group of its own until the block ends, once it answers."""
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True) as process,
    ):
        try:
            ends = time.monotonic() + _START_S
            while not _answers(url + ready):
                if process.poll() is not None or time.monotonic() > ends:
                    raise RuntimeError(f"a server did not start: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield url, process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.folder / f"{name}-{time.monotonic_ns()}"
    folder.mkdir()
    return folder


def _template(folder: Path) -> str:
    """Measure something short, and return its record under the id that the load puts others in the place of."""
    with MRVTracker("load", storage_dir=folder / "mrv_data", blockchain_enabled=False) as tracker:
        sum(range(1_000_000))
    text = Path(str(tracker.record_path)).read_text(encoding="utf-8")
    return re.sub(re.escape(str(tracker.mrv_id)), _ID, text)
