# SPDX-License-Identifier: MIT
"""One deadline over everything that is done for one anchor: contexts, threads, the transport, a network's patience."""

from __future__ import annotations

import contextvars
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from fault_modes import NEVER_ENDING, timeouts
from faulty import FaultServer, always
from watchdog import HungError, outcome_of

from mrv_core.deadline import deadline, seconds_left
from mrv_core.driver import NetworkSettings
from mrv_core.errors import BackendUnavailableError
from mrv_core.tasks import Patience
from mrv_core.transport import HttpTransport, TransportError

Connect = Callable[..., HttpTransport]
LONG_S = 100_000.0
"""Far longer than the watchdog waits."""


# --- the deadline itself -----------------------------------------------------------------------------------------


def test_without_a_deadline_there_is_time_for_ever() -> None:
    assert seconds_left() == math.inf


def test_the_nearest_deadline_counts_and_each_ends_with_its_block() -> None:
    with deadline(100):
        assert 0 < seconds_left() <= 100
        with deadline(1000):
            assert 0 < seconds_left() <= 100
        with deadline(10):
            assert 0 < seconds_left() <= 10
            with deadline(-1):
                assert seconds_left() < 0
        assert 10 < seconds_left() <= 100
    assert seconds_left() == math.inf


def test_a_deadline_ends_with_its_block_although_that_failed() -> None:
    with pytest.raises(KeyError), deadline(5):
        raise KeyError
    assert seconds_left() == math.inf


def test_a_new_thread_has_no_deadline_unless_it_gets_the_context() -> None:
    seen: list[float] = []
    with deadline(100):
        plain = threading.Thread(target=lambda: seen.append(seconds_left()))
        context = contextvars.copy_context()
        inherited = threading.Thread(target=lambda: context.run(lambda: seen.append(seconds_left())))
        for thread in (plain, inherited):
            thread.start()
            thread.join()
    assert seen[0] == math.inf
    assert 0 < seen[1] <= 100


# --- the watchdog ------------------------------------------------------------------------------------------------


def test_the_watchdog_barks() -> None:
    end = threading.Event()
    with pytest.raises(HungError, match="in wait"):
        outcome_of(end.wait, patience_s=0.05)
    end.set()
    assert outcome_of(lambda: 7) == 7
    assert isinstance(outcome_of(lambda: 1 / 0), ZeroDivisionError)


# --- the transport keeps it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*NEVER_ENDING, "drip-endlessly"])
def test_a_call_ends_with_the_deadline_however_long_its_own_timeout_is(connect: Connect, mode: str) -> None:
    for seconds in timeouts("silence"):
        with FaultServer(plan=always(mode)) as server, deadline(seconds):
            transport = connect(server.url, timeout_s=LONG_S, max_bytes=10**10)
            outcome = outcome_of(lambda transport=transport: transport.request("POST", body=b"x"))
        if server.fired:
            break
    assert server.fired == {mode: 1}
    assert isinstance(outcome, TransportError)
    assert "does not answer in time" in str(outcome)
    assert outcome.maybe_delivered
    assert outcome.retryable


def test_a_call_ends_with_its_own_timeout_however_far_the_deadline_is(connect: Connect) -> None:
    with FaultServer(plan=always("silence")) as server, deadline(LONG_S):
        outcome = outcome_of(lambda: connect(server.url, timeout_s=0.2).request("GET"))
        assert "does not answer in time" in str(outcome)


@pytest.mark.parametrize("timeout_s", [0, -1, 1e-9])
def test_without_time_nothing_is_sent(connect: Connect, server: FaultServer, timeout_s: float) -> None:
    outcome = outcome_of(lambda: connect(server.url, timeout_s=timeout_s).request("POST", body=b"x"))
    assert isinstance(outcome, TransportError)
    assert not outcome.maybe_delivered
    assert server.requests == []


def test_without_time_nothing_is_sent_on_a_kept_connection_either(connect: Connect, server: FaultServer) -> None:
    transport = connect(server.url)
    transport.request("GET")
    with deadline(-1), pytest.raises(TransportError, match="in time") as late:
        transport.request("POST", body=b"x")
    assert not late.value.maybe_delivered
    assert transport.request("GET").status == 200
    assert [request.method for request in server.requests] == ["GET", "GET"]


def test_a_body_that_nobody_reads_is_not_sent_for_ever(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=2)
        outcome = outcome_of(lambda: transport.request("POST", body=bytes(50_000_000)))
    assert isinstance(outcome, TransportError)
    assert outcome.maybe_delivered


@contextmanager
def full_listener() -> Iterator[int]:
    """Listen on a port whose queue is full, so that the kernel answers no further connection."""
    waiting: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            attempt = socket.socket()
            attempt.setblocking(False)
            attempt.connect_ex(("127.0.0.1", port))
            waiting.append(attempt)
        try:
            yield port
        finally:
            for attempt in waiting:
                attempt.close()


def test_a_connection_that_is_never_made_is_given_up(connect: Connect) -> None:
    with full_listener() as port:
        outcome = outcome_of(lambda: connect(f"http://127.0.0.1:{port}", timeout_s=0.3).request("GET"))
        assert isinstance(outcome, TransportError)
        assert "does not answer in time" in str(outcome)
        assert not outcome.maybe_delivered


def resolved(*ports: int) -> list[Any]:
    """Return what the resolver says of a name with several addresses."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]


def test_an_address_that_hangs_leaves_time_for_the_next(
    connect: Connect, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_listener() as port:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved(port, server.port))
        transport = connect("http://node.example", timeout_s=2)
        assert outcome_of(lambda: transport.request("GET")).status == 200


def test_a_resolver_that_hangs_is_left_behind(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [end.wait()])
    outcome = outcome_of(lambda: connect("http://node.example", timeout_s=0.2).request("GET"))
    end.set()
    assert isinstance(outcome, TransportError)
    assert "does not answer in time" in str(outcome)
    assert not outcome.maybe_delivered


def test_a_name_without_addresses_is_an_error_of_ours(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    outcome = outcome_of(lambda: connect("http://node.example").request("GET"))
    assert isinstance(outcome, TransportError)
    assert not outcome.maybe_delivered


# --- core sets it ------------------------------------------------------------------------------------------------


def test_a_networks_timeout_ends_the_calls_made_for_it(connect: Connect) -> None:
    for seconds in timeouts("silence"):
        settings = NetworkSettings(timeout=seconds, retry_attempts=5)
        patience = Patience("ethereum", settings, time.sleep, time.monotonic)
        with FaultServer(plan=always("silence")) as server:
            transport = connect(server.url, timeout_s=LONG_S)
            ask = partial(patience.call, partial(transport.request, "GET"))
            outcome = outcome_of(ask)
        if server.fired:
            break
    assert server.fired == {"silence": 1}
    assert isinstance(outcome, BackendUnavailableError)
    assert seconds_left() == math.inf


def test_what_is_asked_for_again_shares_the_networks_timeout(connect: Connect) -> None:
    left: list[float] = []
    with FaultServer(plan=always("status-502")) as server:
        transport = connect(server.url)
        patience = Patience("ethereum", NetworkSettings(timeout=50, retry_attempts=3), lambda _: None, time.monotonic)

        def ask() -> None:
            left.append(seconds_left())
            raise transport.refusal(transport.request("GET"))

        with pytest.raises(TransportError, match="HTTP 502"):
            patience.call(ask)
        assert server.fired == {"status-502": 3}
    assert 50 >= left[0] > left[1] > left[2] > 0
