# SPDX-License-Identifier: MIT
"""Load on a registry over HTTP: at a rate that does not wait for answers, or as fast as some connections can."""

import asyncio
import gc
import itertools
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from protocol import serve

_ID = b"MRV-00000000-0000-4000-8000-000000000000"
_MAX_CONNECTIONS = 512
_TIMEOUT = aiohttp.ClientTimeout(total=60)

_state: dict[str, Any] = {"ids": itertools.count()}


def prepare(record: str) -> None:
    """Take the record that all others are like, but for their ids."""
    _state["record"] = record.encode()
    if _ID not in _state["record"]:
        raise ValueError("the record has another id")


def paced(url: str, path: str, token: str, known: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Send requests at their times whatever became of those before, and say what came of it.

    A latency counts from when the request was to be sent, so that a server which is slow is not asked less.

    Args:
        url: The registry.
        path: `{id}` in it is one of the known; empty for submitting new records.
        token: Allows to write.
        known: Ids of records that are there.
        rate: Requests a second.
        seconds: How long.
    """

    async def run(session: aiohttp.ClientSession) -> dict[str, Any]:
        latencies: list[float] = []
        statuses: Counter[str] = Counter()
        taken: list[str] = []

        async def one(number: int, due: float) -> None:
            status, mrv_id = await _send(session, url, path, token, known, number)
            latencies.append(time.perf_counter() - due)
            statuses[status] += 1
            if mrv_id is not None:
                taken.append(mrv_id)

        start = time.perf_counter()
        tasks = []
        for number in range(max(1, int(rate * seconds))):
            due = start + number / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(number, due)))
        await asyncio.gather(*tasks)
        took = time.perf_counter() - start
        latencies.sort()
        return {
            "rate": len(latencies) / took,
            "p50": _quantile(latencies, 0.5),
            "p99": _quantile(latencies, 0.99),
            "statuses": dict(statuses),
            "taken": taken,
        }

    return _run(run)


def flat_out(url: str, path: str, token: str, known: list[str], connections: int, seconds: float) -> dict[str, Any]:
    """Keep some connections busy, each with one request after the other; see `paced` for the arguments."""

    async def run(session: aiohttp.ClientSession) -> dict[str, Any]:
        statuses: Counter[str] = Counter()
        taken: list[str] = []
        numbers = itertools.count()
        start = time.perf_counter()

        async def one() -> None:
            while time.perf_counter() - start < seconds:
                status, mrv_id = await _send(session, url, path, token, known, next(numbers))
                statuses[status] += 1
                if mrv_id is not None:
                    taken.append(mrv_id)

        await asyncio.gather(*(one() for _ in range(connections)))
        took = time.perf_counter() - start
        return {"rate": statuses.total() / took, "statuses": dict(statuses), "taken": taken}

    return _run(run)


def submit(url: str, token: str, count: int, connections: int) -> list[str]:
    """Submit so many new records and return their ids."""

    async def run(session: aiohttp.ClientSession) -> list[str]:
        taken: list[str] = []
        left = iter(range(count))

        async def one() -> None:
            for number in left:
                status, mrv_id = await _send(session, url, "", token, [], number)
                if mrv_id is None:
                    raise RuntimeError(f"a record was not taken: {status}")
                taken.append(mrv_id)

        await asyncio.gather(*(one() for _ in range(connections)))
        return taken

    return _run(run)


async def _send(
    session: aiohttp.ClientSession, url: str, path: str, token: str, known: list[str], number: int
) -> tuple[str, str | None]:
    """Send one request; return its status, or why there is none, and the id of a record that was taken."""
    mrv_id = f"MRV-{uuid.uuid4()}"
    try:
        if path:
            answer = session.get(url + path.format(id=known[number % len(known)]))
        else:
            body = _state["record"].replace(_ID, mrv_id.encode())
            answer = session.post(f"{url}/api/v1/records", data=body, headers={"Authorization": f"Bearer {token}"})
        async with answer as response:
            await response.read()
            return str(response.status), mrv_id if response.status == 201 else None
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__, None


def _run(work: Callable[[aiohttp.ClientSession], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        connector = aiohttp.TCPConnector(limit=_MAX_CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
            return await work(session)

    return asyncio.run(run())


def _quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


gc.disable()  # its pauses would be counted as the server's
serve({"prepare": prepare, "paced": paced, "flat_out": flat_out, "submit": submit})
