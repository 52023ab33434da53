# SPDX-License-Identifier: MIT
"""Memory and life of a process whose node sends too much, too deep, or simply anything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fault_modes import Case, Do, Reply, Steps
from faulty import FaultServer, always
from hypothesis import given, settings
from hypothesis import strategies as st
from watchdog import outcome_of

from mrv_core.errors import BackendError
from mrv_core.transport import MAX_REPLY_BYTES, MAX_REPLY_VALUES, HttpTransport, JsonRpcClient, Response

Connect = Callable[..., HttpTransport]
GROWTH_BYTES = 64 * 1024 * 1024
HUGE = (
    "endless-body endless-chunks endless-headers endless-header endless-continue endless-trailers endless-extension "
    "huge-header huge-length huge-chunk negative-chunk gzip-bomb many-values deep deep-object"
).split()

CALLS = """
import json, re, sys
if sys.argv[2] == "web3":
    import web3
    sys.setrecursionlimit(max(100_000, sys.getrecursionlimit()))  # which importing it did in 2025
from mrv_core.errors import BackendError
from mrv_core.transport import HttpTransport, JsonRpcClient

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

transport = HttpTransport(sys.argv[1], timeout_s=50)
client = JsonRpcClient(transport)
client.call("warm", "x" * 100_000)
before, outcomes = peak(), []
for _ in range(int(sys.argv[3])):
    try:
        client.call("method")
        outcomes.append("ok")
    except BackendError as error:
        outcomes.append(type(error).__name__)
transport.close()
print(json.dumps({"growth": peak() - before, "outcomes": outcomes}))
"""


def calls_in_a_process(server: FaultServer, *arguments: object) -> Any:
    """Make calls in a process of its own; return the growth of its peak memory and the outcomes."""
    command = [sys.executable, "-c", CALLS, server.url, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr  # a negative code is the signal that ended the process
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def first_is_honest(mode: str) -> Callable[[Any], str | None]:
    return lambda request: None if request.call == "warm" else mode


@pytest.mark.parametrize("mode", HUGE)
def test_an_answer_of_any_size_takes_little_memory(mode: str) -> None:
    with FaultServer(plan=first_is_honest(mode)) as server:
        result = calls_in_a_process(server, "plain", 1)
        assert server.fired == {mode: 1}
    assert result["outcomes"] == ["TransportError"]
    assert result["growth"] < GROWTH_BYTES


def test_the_memory_that_is_taken_is_seen() -> None:
    answers = iter([Reply.json({"id": 1, "result": 1}), Reply.json({"id": 2, "result": "x" * 30_000_000})])
    with FaultServer(lambda _: next(answers)) as server:
        result = calls_in_a_process(server, "plain", 1)
    assert result["outcomes"] == ["ok"]
    assert result["growth"] > 30_000_000


def test_deep_answers_do_not_end_a_process_whose_recursion_limit_is_raised() -> None:
    modes = iter(["deep", "deep-object"] * 2)
    with FaultServer(plan=lambda request: None if request.call == "warm" else next(modes)) as server:
        assert calls_in_a_process(server, "web3", 4)["outcomes"] == ["TransportError"] * 4
        assert server.fired == {"deep": 2, "deep-object": 2}


def test_the_attack_would_work_on_a_plain_parser() -> None:
    """Otherwise the test before this one shows nothing."""
    program = "import json, sys; sys.setrecursionlimit(10**6); json.loads('[' * 200_000)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode < 0 or b"RecursionError" in ended.stderr


def test_the_largest_allowed_answer_is_read(connect: Connect) -> None:
    frame = len(json.dumps({"id": 1, "result": ""}))
    text = "x" * (MAX_REPLY_BYTES - frame)
    with FaultServer(lambda _: Reply.json({"id": 1, "result": text})) as server:
        assert JsonRpcClient(connect(server.url, timeout_s=50)).call("method") == text


def test_as_many_values_as_allowed_are_read(connect: Connect) -> None:
    values = [0] * (MAX_REPLY_VALUES - 4)  # two colons, a comma and two brackets are in the frame
    with FaultServer(lambda _: Reply.json({"id": 1, "result": values})) as server:
        assert JsonRpcClient(connect(server.url, timeout_s=50)).call("method") == values
        values.append(0)
        outcome = outcome_of(lambda: JsonRpcClient(connect(server.url, timeout_s=50)).call("method"))
        assert isinstance(outcome, BackendError)


# --- anything at all ---------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 500",
        b"HTTP/2 200",
        b"Content-Length: 3",
        b"Content-Length: 70",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Content-Encoding: gzip",
        b"Content-Type: application/json",
        b"3",
        b"0",
        b"-1",
        b"ffffffff",
        b"",
        b"",
        b'{"jsonrpc":"2.0","id":1,"result":"0x1"}',
        b'{"id":1,"error":',
    ]
)
KEYS = st.sampled_from(["id", "result", "error", "code", "message", "data", "jsonrpc"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text() | KEYS, children, max_size=4),
    max_leaves=8,
)
ANSWERS = st.fixed_dictionaries({}, optional={"id": JSON | st.just(1), "result": JSON, "error": JSON})
WIRE = (
    st.binary(max_size=300)
    | st.lists(LINES | st.binary(max_size=20), max_size=12).map(b"\r\n".join)
    | st.builds(
        lambda body, cut: Reply(200, (), body).encode()[: -cut or None],
        (ANSWERS | JSON | st.lists(ANSWERS, max_size=3)).map(lambda value: json.dumps(value).encode())
        | st.binary(max_size=100),
        st.integers(0, 3),
    )
)


@pytest.fixture(scope="module")
def sayer() -> Any:
    """A server that says whatever is in a list, and ends the connection."""
    said: list[bytes] = [b""]

    def say(_: Case) -> Steps:
        yield said[0]
        yield Do.FIN

    with FaultServer(plan=always(say)) as server:
        yield server, said


@given(wire=WIRE)
@settings(max_examples=400)
def test_whatever_comes_back_only_our_errors_come_out(sayer: Any, wire: bytes) -> None:
    server, said = sayer
    said[0] = wire
    transport = HttpTransport(server.url, timeout_s=50, max_bytes=1000)
    for ask in (
        lambda: transport.request("GET"),
        lambda: JsonRpcClient(transport).call("method"),
        lambda: JsonRpcClient(transport).batch([("a", []), ("b", [])]),
    ):
        outcome = outcome_of(ask)
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, BackendError)
            assert str(outcome).isprintable()
            assert len(str(outcome)) < 500
    transport.close()
    assert server.defects == []


@given(body=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 700), max_size=20), extension=st.binary(max_size=9))
@settings(max_examples=100)
def test_any_body_in_any_pieces_arrives_as_it_is(sayer: Any, body: bytes, sizes: list[int], extension: bytes) -> None:
    server, said = sayer
    wire, rest = b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", body
    for size in sizes:
        piece, rest = rest[:size], rest[size:]
        if piece:
            wire += b"%x;%s\r\n%s\r\n" % (len(piece), extension.replace(b"\n", b""), piece)
    said[0] = wire + (b"%x\r\n%s\r\n" % (len(rest), rest) if rest else b"") + b"0\r\n\r\n"
    transport = HttpTransport(server.url, timeout_s=50)
    outcome = outcome_of(lambda: transport.request("GET"))
    transport.close()
    assert isinstance(outcome, Response)
    assert outcome.body == body
