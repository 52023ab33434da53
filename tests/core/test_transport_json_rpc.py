# SPDX-License-Identifier: MIT
"""JSON-RPC as the standard has it, and as nodes speak it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fault_modes import Reply, Request
from faulty import FaultServer, echo

from mrv_core.errors import BackendError
from mrv_core.transport import HttpTransport, JsonRpcClient, RpcError, TransportError

Connect = Callable[..., HttpTransport]


def test_a_call_is_what_the_standard_says(connect: Connect, server: FaultServer) -> None:
    client = JsonRpcClient(connect(server.url), path="/wallet/mrv")
    assert client.call("method", 1, None, {"a": ["b"]}) == {"method": "method", "params": [1, None, {"a": ["b"]}]}
    request = server.requests[0]
    assert (request.method, request.target, request.headers["content-type"]) == (
        "POST",
        "/wallet/mrv",
        "application/json",
    )
    assert request.body == b'{"jsonrpc":"2.0","id":1,"method":"method","params":[1,null,{"a":["b"]}]}'
    JsonRpcClient(connect(server.url), version="1.0").call("old")
    assert b'"jsonrpc":"1.0"' in server.requests[1].body


def test_a_batch_is_one_request_and_keeps_its_order(connect: Connect) -> None:
    def backwards(request: Request) -> Reply:
        return Reply.json(json.loads(echo(request).body)[::-1])

    with FaultServer(backwards) as server:
        client = JsonRpcClient(connect(server.url))
        results = client.batch((f"m{n}", [n]) for n in range(50))
        assert results == [{"method": f"m{n}", "params": [n]} for n in range(50)]
        assert client.batch([]) == []
        assert len(server.requests) == 1


@pytest.mark.parametrize("result", [None, False, 0, "", [], {}, 1.5, "ä", {"a": {"b": [None]}}])
def test_every_result_comes_back(connect: Connect, result: Any) -> None:
    with FaultServer(lambda _: Reply.json({"id": 1, "result": result, "error": None})) as server:
        assert JsonRpcClient(connect(server.url)).call("method") == result


def batch_answers(*ids: Any) -> Any:
    return [{"id": identity, "result": identity} for identity in ids]


@pytest.mark.parametrize(
    "answers",
    [
        batch_answers(1),
        batch_answers(1, 1),
        batch_answers(1, 2, 2),
        batch_answers(1, 2, 3),
        batch_answers(1, None),
        batch_answers(1, [2]),
        batch_answers(1, {"a": 1}),
        batch_answers(True, 2),
        [*batch_answers(1, 2), None],
        [*batch_answers(1), 2],
        batch_answers(1)[0],
        [],
        {},
        {"1": batch_answers(1)[0]},
    ],
)
def test_a_batch_that_is_not_answered_one_by_one_is_not_answered(connect: Connect, answers: Any) -> None:
    with FaultServer(lambda _: Reply.json(answers)) as server, pytest.raises(TransportError) as unknown:
        JsonRpcClient(connect(server.url)).batch([("a", []), ("b", [])])
    assert unknown.value.maybe_delivered


def test_a_batch_refused_as_a_whole_is_refused(connect: Connect) -> None:
    refusal = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}}
    with FaultServer(lambda _: Reply.json(refusal)) as server, pytest.raises(RpcError, match="batch too large"):
        JsonRpcClient(connect(server.url)).batch([("a", []), ("b", [])])


@pytest.mark.parametrize(("status", "refused"), [(200, True), (400, True), (500, False), (503, False)])
def test_an_error_without_id_is_the_nodes_unless_the_server_failed(
    connect: Connect, status: int, refused: bool
) -> None:
    answer = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "too large"}}
    with FaultServer(lambda _: Reply.json(answer, status)) as server, pytest.raises(BackendError) as failed:
        JsonRpcClient(connect(server.url)).call("method")
    assert isinstance(failed.value, RpcError if refused else TransportError)
    assert failed.value.retryable is not refused


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_an_error_of_the_node_counts_whatever_the_status_is(connect: Connect, status: int) -> None:
    answer = {"result": None, "error": {"code": -5, "message": "No such mempool transaction"}, "id": 1}
    with FaultServer(lambda _: Reply.json(answer, status)) as server, pytest.raises(RpcError) as refused:
        JsonRpcClient(connect(server.url), version="1.0").call("getrawtransaction", "00")
    assert refused.value.code == -5


@pytest.mark.parametrize(("status", "retryable"), [(401, False), (403, False), (429, True)])
def test_where_the_status_says_more_than_the_error_it_counts(connect: Connect, status: int, retryable: bool) -> None:
    answer = {"error": {"code": -32005, "message": "limit exceeded"}, "id": 1}
    with FaultServer(lambda _: Reply.json(answer, status)) as server, pytest.raises(BackendError) as refused:
        JsonRpcClient(connect(server.url)).call("method")
    assert refused.value.retryable is retryable
    assert f"HTTP {status}" in str(refused.value)
