# SPDX-License-Identifier: MIT
"""Every fault of the fault server, met by plain requests, a JSON-RPC call and a batch: one of four documented outcomes.

No call comes back later than its deadline allows, none is sent twice, and no error is anybody's but ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fault_modes import FOR_A_GREETING, JSON_RPC_MODES, MODES, NEVER_ENDING, timeouts
from faulty import FaultServer, always
from watchdog import outcome_of

from mrv_core.deadline import deadline
from mrv_core.errors import BackendError
from mrv_core.transport import HttpTransport, JsonRpcClient, Response, RpcError, TransportError

MAX_BYTES = 300_000
LONG_S = 50.0
BROKEN = (
    "silence reset fin headers-then-silence drip drip-endlessly reset-mid-body fin-mid-body short-body "
    "redirect-301 redirect-302 redirect-307 redirect-308 garbage garbage-line bare-body nonsense-status "
    "switching-protocols huge-header long-header folded-header two-lengths negative-length huge-length unknown-coding "
    "length-and-chunks bad-chunk negative-chunk huge-chunk long-chunk cut-chunks endless-headers endless-header "
    "endless-continue endless-body endless-chunks endless-trailers endless-extension gzip-bomb many-values deep-object "
    "forward-then-fin forward-then-reset forward-then-silence forward-then-cut echo-in-garbage"
).split()
"""No whole answer comes back, whatever was asked."""
HARMLESS = (
    "close-while-idle two-answers surplus early-hints chunks body-to-the-end line-feeds-only wrong-content-type"
).split()
NO_ANSWER = (
    "html empty json-null json-list json-text json-number json-object deep byte-order-mark forward-then-html "
    "echo-in-headers cut-json invalid-utf8 duplicate-keys trailing-text wrong-id text-id float-id true-id list-id "
    "null-id no-id no-result nan infinity huge-integer lone-surrogate inner-list"
).split()
"""HTTP is as it should be, and what it carries is no answer to the question."""
UNAVAILABLE = "status-429 status-500 status-502 status-503 forward-then-500 forward-then-502".split()
REFUSED = "status-400 status-401 status-403 status-404 echo-in-refusal".split()
RPC_REFUSED = "error-text error-list error-object error-odd error-without-id echo-in-error".split()

CALL = {
    **dict.fromkeys(BROKEN, "unknown"),
    **dict.fromkeys(HARMLESS, "ok"),
    **dict.fromkeys(NO_ANSWER, "unknown"),
    **dict.fromkeys(UNAVAILABLE, "unknown"),
    **dict.fromkeys(REFUSED, "refused"),
    **dict.fromkeys(RPC_REFUSED, "refused by the node"),
}
REQUEST = {**CALL, **dict.fromkeys([*NO_ANSWER, *UNAVAILABLE, *REFUSED, *RPC_REFUSED], "ok")}
BATCH = {
    **CALL,
    # Only one answer of several is an error.
    **dict.fromkeys(["error-text", "error-list", "error-object", "error-odd"], "ok"),
    # An error without id refuses a batch only where it stands alone.
    "error-without-id": "unknown",
}
KINDS: dict[str, tuple[dict[str, str], Callable[[HttpTransport], Any]]] = {
    "GET": (REQUEST, lambda transport: transport.request("GET", "/some/path?a=b")),
    "POST": (REQUEST, lambda transport: transport.request("POST", "/some/path", body=b"a body")),
    "call": (CALL, lambda transport: JsonRpcClient(transport).call("method", 1, "two")),
    "batch": (BATCH, lambda transport: JsonRpcClient(transport).batch([("method", [1]), ("other", [])])),
}
CASES = [
    (kind, mode)
    for kind in KINDS
    for mode in MODES
    if mode not in FOR_A_GREETING and (kind in ("call", "batch") or mode not in JSON_RPC_MODES)
]


def kind_of(outcome: Any) -> str:
    """Name one of the documented outcomes; anything else is a defect and raised."""
    if isinstance(outcome, TransportError):
        return "unknown" if outcome.maybe_delivered else "retriable"
    if isinstance(outcome, RpcError):
        return "refused by the node"
    if isinstance(outcome, BackendError):
        return "refused"
    if isinstance(outcome, BaseException):
        raise outcome
    return "ok"


def check_error(error: BaseException, server: FaultServer) -> None:
    """Check that an error says on one line where, and on another what to do, and stands for itself."""
    assert isinstance(error, BackendError)
    assert str(error).startswith(server.url)
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert error.hint
    assert (error.__cause__, error.__context__) == (None, None)


Connect = Callable[..., HttpTransport]


def test_every_mode_has_an_expectation() -> None:
    assert CALL.keys() | {*FOR_A_GREETING} == MODES.keys()
    assert len(MODES) > 80


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_a_fault_gives_one_of_four_outcomes(connect: Connect, kind: str, mode: str) -> None:
    expected, ask = KINDS[kind]
    for timeout_s in timeouts(mode):
        with FaultServer() as stranger, FaultServer(plan=always(mode), elsewhere=stranger.url) as server:
            transport = connect(server.url, timeout_s=timeout_s, max_bytes=MAX_BYTES)
            outcome = outcome_of(lambda transport=transport: ask(transport))
        if server.fired:
            break
    assert server.fired == {mode: 1}
    assert kind_of(outcome) == expected[mode]
    if isinstance(outcome, BaseException):
        check_error(outcome, server)
        assert ("in time" in str(outcome)) is (mode in NEVER_ENDING)
    assert len(server.requests) == 1
    assert stranger.connections == 0


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("fin", "breaks off its answer"),
        ("reset", "Connection reset by peer"),
        ("garbage", "something that is not HTTP/1.1"),
        ("switching-protocols", "switches to another protocol"),
        ("folded-header", "a header that is none"),
        ("endless-continue", "headers longer than any server needs"),
        ("two-lengths", "whose length is ambiguous"),
        ("negative-chunk", "a chunk of no size"),
        ("long-chunk", "a chunk longer than its size"),
        ("endless-body", "more than the 300000 bytes allowed"),
        ("gzip-bomb", "an encoding that was not asked for"),
        ("redirect-302", "redirects elsewhere (HTTP 302), which is not followed"),
        ("html", "what came back is no JSON-RPC answer to the question (text/html)"),
        ("empty", "what came back is no JSON-RPC answer to the question (application/json)"),
        ("no-result", "an answer without result"),
        ("status-401", "refuses our credentials (HTTP 401)"),
        ("status-404", "does not take the request (HTTP 404)"),
        ("status-503", "is not able to answer now (HTTP 503)"),
        ("error-text", "method: it failed"),
    ],
)
def test_an_error_says_what_is_wrong(connect: Connect, mode: str, text: str) -> None:
    with FaultServer(plan=always(mode)) as server, pytest.raises(BackendError) as failed:
        JsonRpcClient(connect(server.url, max_bytes=MAX_BYTES)).call("method")
    assert str(failed.value).startswith(server.url)
    assert str(failed.value).endswith(text)


@pytest.mark.parametrize("mode", ["status-429", "status-500", "status-502", "status-503", "forward-then-500"])
def test_a_server_that_is_not_able_now_is_worth_another_try(connect: Connect, mode: str) -> None:
    with FaultServer(plan=always(mode)) as server, pytest.raises(TransportError) as refused:
        JsonRpcClient(connect(server.url)).call("method")
    assert refused.value.retryable
    assert refused.value.retry_after_s == (7.0 if mode == "status-429" else None)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_said_to_be_the_reason(connect: Connect, status: int) -> None:
    with FaultServer(plan=always(f"status-{status}")) as server, pytest.raises(BackendError) as refused:
        JsonRpcClient(connect(server.url)).call("method")
    assert "refuses our credentials" in str(refused.value)
    assert "API key" in str(refused.value.hint)


@pytest.mark.parametrize("mode", [*REFUSED, *RPC_REFUSED])
def test_a_refusal_is_not_worth_another_try(connect: Connect, mode: str) -> None:
    with FaultServer(plan=always(mode)) as server, pytest.raises(BackendError) as refused:
        JsonRpcClient(connect(server.url)).call("method")
    assert not refused.value.retryable


def test_an_error_of_the_node_keeps_its_code_text_and_data(connect: Connect) -> None:
    with FaultServer(plan=always("error-object")) as server, pytest.raises(RpcError) as refused:
        JsonRpcClient(connect(server.url)).call("method")
    assert (refused.value.code, refused.value.reason, refused.value.data) == (-32000, "no", "0x")
    with FaultServer(plan=always("error-odd")) as server, pytest.raises(RpcError) as refused:
        JsonRpcClient(connect(server.url)).call("method")
    assert (refused.value.code, refused.value.reason, refused.value.data) == (None, "[1]", None)


def test_a_batch_keeps_the_errors_of_its_calls_apart(connect: Connect) -> None:
    with FaultServer(plan=always("error-object")) as server:
        first, second = JsonRpcClient(connect(server.url)).batch([("first", []), ("second", [2])])
    assert isinstance(first, RpcError)
    assert first.code == -32000
    assert second == {"method": "second", "params": [2]}


def test_an_answer_with_surplus_is_not_taken_for_the_next_one(connect: Connect) -> None:
    for mode in ("two-answers", "surplus"):
        with FaultServer(plan=always(mode)) as server:
            client = JsonRpcClient(connect(server.url))
            assert [client.call("method", number) for number in range(3)] == [
                {"method": "method", "params": [number]} for number in range(3)
            ]
            assert server.connections == 3


@pytest.mark.parametrize("mode", [*BROKEN, "close-while-idle", "body-to-the-end"])
def test_the_same_client_works_again_after_a_fault(connect: Connect, mode: str) -> None:
    with FaultServer(plan=always(mode)) as server:
        client = JsonRpcClient(connect(server.url, timeout_s=LONG_S, max_bytes=MAX_BYTES))
        with deadline(timeouts(mode)[0]):
            outcome_of(lambda: client.call("first"))
        server.plan = always("chunks")
        server.drop_connections()
        server.wait_until_all_are_closed()
        assert outcome_of(lambda: client.call("second")) == {"method": "second", "params": []}


# --- before the request is there ---------------------------------------------------------------------------------


def test_a_server_that_answers_before_it_has_read_everything_is_heard(connect: Connect) -> None:
    with FaultServer(greeting="refuse-while-reading") as server:
        transport = connect(server.url, timeout_s=LONG_S)
        response = outcome_of(lambda: transport.request("POST", body=bytes(20_000_000)))
        assert isinstance(response, Response)
        assert response.status == 413
        assert server.fired == {"refuse-while-reading": 1}


@pytest.mark.parametrize("greeting", ["reset-while-reading", "fin", "garbage", "silence"])
def test_what_breaks_while_sending_may_have_been_delivered(connect: Connect, greeting: str) -> None:
    with FaultServer(greeting=greeting) as server:
        transport = connect(server.url, timeout_s=1.0 if greeting == "silence" else LONG_S)
        outcome = outcome_of(lambda: transport.request("POST", body=bytes(20_000_000)))
        assert kind_of(outcome) == "unknown"
        check_error(outcome, server)
        assert server.fired == {greeting: 1}
        assert server.connections == 1
