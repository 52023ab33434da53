# SPDX-License-Identifier: MIT
"""A daemon or gateway that lies, breaks or hangs: wrong, could not check and not there stay different (A50, A56)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from fault_modes import HTML, JSON_RPC_MODES, MODES, Reply, Request
from faulty import Answer, FaultServer, forward_to

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_core.errors import AnchorNotFoundError, BackendError, MrvError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt, ReceiptState, VerifiedAnchor
from mrv_core.transport import TransportError
from mrv_devnet.nodes import IpfsNode

pytestmark = pytest.mark.node

MakeDriver = Callable[..., IpfsDriver]
Ask = Callable[[IpfsNode], set[bytes]]
Change = Callable[[bytes], bytes]
METADATA = {"run_id": "run-1", "phase": "before_training"}
TIMEOUT_S = 20.0
HASTY_S = 1.0
SHORT_S = 4.0
"""For a daemon that looks for a block that is not there: it may take half of it."""
SECRET: Final = "a-secret-that-must-not-be-shown"

FAULTS: Final = sorted(set(MODES) - set(JSON_RPC_MODES))
HARMLESS: Final = {
    *("body-to-the-end", "chunks", "duplicate-keys", "early-hints", "line-feeds-only", "surplus", "two-answers"),
    "wrong-content-type",
}
"""Faults of JSON-RPC that leave other answers as they are, and what HTTP allows."""
CLOSES: Final = "close-while-idle"
"""Answers, and closes the connection: the next request may notice that too late, and is never sent twice."""
OTHER_BYTES: Final = {
    *("byte-order-mark", "cut-json", "deep", "deep-object", "echo-in-error", "echo-in-headers", "empty", "html"),
    *("forward-then-html", "invalid-utf8", "json-list", "json-null", "json-number", "json-object", "json-text"),
    *("many-values", "trailing-text"),
}
"""Faults that are a whole answer of HTTP with other bytes than the block's."""


def commitment_of(name: str) -> Digest:
    return HashFactory.digest(name.encode(), "sha256")


def anchor(driver: IpfsDriver, name: str) -> Receipt:
    return driver.submit(driver.prepare(commitment_of(name), METADATA))


def flip(block: bytes) -> bytes:
    middle = len(block) // 2
    return block[:middle] + bytes([block[middle] ^ 1]) + block[middle + 1 :]


CHANGES: Final[dict[str, Change]] = {
    "bit flipped": flip,
    "truncated": lambda block: block[:-1],
    "appended": lambda block: block + b"\n",
    "nothing": lambda _: b"",
    "login page": lambda _: HTML,
    "two megabytes": lambda block: block * 20_000,
    "another block": lambda block: block.replace(b"before", b"after_"),
}


def delivering(url: str, change: Change) -> Answer:
    """Return an honest server's answers with the bytes of blocks changed."""
    forward = forward_to(url)

    def answer(request: Request) -> Reply:
        reply = forward(request)
        if "block/get" in request.target or "/ipfs/" in request.target:
            return replace(reply, body=change(reply.body))
        return reply

    return answer


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", ["daemon", "gateway"])
def test_other_bytes_are_wrong_whoever_delivers_them(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, live: IpfsDriver, kind: str, change: Change
) -> None:
    receipt = anchor(live, "tampering")
    with FaultServer(delivering(ipfs_daemon.api_url if kind == "daemon" else ipfs_daemon.gateway_url, change)) as liar:
        settings = {"url": liar.url} if kind == "daemon" else {"gateway_url": liar.url}
        driver = make_driver(timeout=TIMEOUT_S, **settings)
        for call in (
            lambda: driver.verify(receipt, receipt.commitment),
            lambda: driver.lookup(receipt.reference),
            lambda: driver.upgrade(receipt),
        ):
            with pytest.raises(VerificationError, match=re.escape(liar.url)) as caught:
                call()
            assert receipt.reference in caught.value.message


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_daemon_that_delivers_other_bytes_gives_no_receipt(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, change: Change
) -> None:
    with FaultServer(delivering(ipfs_daemon.api_url, change)) as liar:
        driver = make_driver(url=liar.url, timeout=TIMEOUT_S)
        with pytest.raises(VerificationError, match="have the CID"):
            anchor(driver, "liar")


def test_a_gateway_alone_suffices_to_verify(
    make_driver: MakeDriver, live: IpfsDriver, gateway_proxy: FaultServer
) -> None:
    receipt = anchor(live, "gateway")
    reader = make_driver(gateway_url=gateway_proxy.url, timeout=TIMEOUT_S)
    verified = reader.verify(receipt, receipt.commitment)
    assert verified.state is ReceiptState.FINAL
    assert verified.facts["delivered_by"] == gateway_proxy.url
    assert verified.facts["pinned"] is None
    assert reader.lookup(receipt.reference).evidence == receipt.evidence
    asked = gateway_proxy.requests[0]
    assert (asked.method, asked.target) == ("GET", f"/ipfs/{receipt.reference}?format=raw")
    assert asked.headers["accept"] == "application/vnd.ipld.raw"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, AnchorNotFoundError),
        (410, AnchorNotFoundError),
        (400, BackendError),
        (403, BackendError),
        (429, TransportError),
        (500, TransportError),
        (504, TransportError),
    ],
)
def test_a_gateway_that_says_no_is_neither_wrong_nor_valid(
    make_driver: MakeDriver, live: IpfsDriver, status: int, error: type[MrvError]
) -> None:
    receipt = anchor(live, "gateway says no")
    with FaultServer(lambda _: Reply(status, (), b"no such thing")) as gateway:
        driver = make_driver(gateway_url=gateway.url, timeout=TIMEOUT_S)
        with pytest.raises(error) as caught:
            driver.verify(receipt, receipt.commitment)
        assert type(caught.value) is error


def test_the_gateway_is_asked_where_the_daemon_does_not_deliver(
    make_driver: MakeDriver, live: IpfsDriver, proxy: FaultServer, gateway_proxy: FaultServer
) -> None:
    receipt = anchor(live, "fallback")
    driver = make_driver(url=proxy.url, gateway_url=gateway_proxy.url, timeout=TIMEOUT_S)
    assert driver.verify(receipt, receipt.commitment).facts["delivered_by"] == proxy.url
    assert gateway_proxy.requests == []
    proxy.plan = lambda _: "reset"
    verified = driver.verify(receipt, receipt.commitment)
    assert (verified.facts["delivered_by"], verified.facts["pinned"]) == (gateway_proxy.url, None)
    gateway_proxy.plan = lambda _: "status-404"
    with pytest.raises(TransportError, match=re.escape(proxy.url)):
        driver.verify(receipt, receipt.commitment)
    gateway_proxy.plan = lambda _: "html"
    with pytest.raises(VerificationError, match=re.escape(gateway_proxy.url)):
        driver.verify(receipt, receipt.commitment)


@pytest.mark.parametrize("command", ["refs/local", "repo/stat"])
@pytest.mark.parametrize(
    "mode",
    ["html", "empty", "json-null", "json-object", "cut-json", "status-404", "status-500", "reset", "many-values"],
)
def test_a_daemon_whose_list_cannot_be_read_leaves_open_whether_it_has_the_block(
    make_driver: MakeDriver, proxy: FaultServer, command: str, mode: str
) -> None:
    driver = make_driver(url=proxy.url, timeout=1.5)
    proxy.plan = lambda request: mode if command in request.target else None
    with pytest.raises(BackendError, match=r"timed out|deadline"):
        driver.lookup(str(Cid.of(b"nobody has stored this")))
    assert proxy.fired[mode] == 1


def test_a_list_that_breaks_off_between_two_lines_is_no_list(make_driver: MakeDriver, ipfs_daemon: IpfsNode) -> None:
    forward = forward_to(ipfs_daemon.api_url)

    def shortened(request: Request) -> Reply:
        reply = forward(request)
        if "refs/local" not in request.target:
            return reply
        return replace(reply, body=b"\n".join(reply.body.strip().split(b"\n")[:-1]))

    missing = str(Cid.of(b"nobody has stored this"))
    with pytest.raises(AnchorNotFoundError):
        make_driver(url=ipfs_daemon.api_url, timeout=SHORT_S).lookup(missing)
    with FaultServer(shortened) as server, pytest.raises(BackendError):
        make_driver(url=server.url, timeout=SHORT_S).lookup(missing)


def test_a_daemon_that_hangs_does_not_take_the_time_in_which_the_gateway_answers(
    tmp_path: Path, live: IpfsDriver, proxy: FaultServer, gateway_proxy: FaultServer
) -> None:
    receipt = anchor(live, "hanging daemon")
    proxy.plan = lambda _: "silence"
    section = {"url": proxy.url, "gateway_url": gateway_proxy.url, "timeout": 6.0, "retry_attempts": 1}
    with BlockchainManager({"blockchain": {"ipfs": section}}, base_dir=tmp_path) as manager:
        verified = manager.verify_receipt("ipfs", receipt, receipt.commitment)
    assert (verified.facts["delivered_by"], verified.facts["pinned"]) == (gateway_proxy.url, None)
    assert proxy.fired["silence"] > 0


def outcome(call: Callable[[], object]) -> object:
    """Return what a call returns, or the error of ours that it raises."""
    try:
        return call()
    except MrvError as error:
        return error


def patience(mode: str) -> float:
    """Return how long a fault is waited for: long enough for a busy machine where it answers, else not long."""
    return TIMEOUT_S if mode in HARMLESS | OTHER_BYTES | {CLOSES} else HASTY_S


@pytest.mark.slow
@pytest.mark.parametrize("mode", FAULTS)
@pytest.mark.parametrize("command", ["block/put", "pin/add", "block/get"])
def test_every_fault_at_every_call_of_an_anchor(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, proxy: FaultServer, pins_on: Ask, command: str, mode: str
) -> None:
    driver = make_driver(url=proxy.url, api_token=SECRET, timeout=patience(mode))
    prepared = driver.prepare(commitment_of(f"{mode} at {command}"), METADATA)
    proxy.plan = lambda request: mode if f"/api/v0/{command}?" in request.target else None
    result = outcome(lambda: driver.submit(prepared))
    assert proxy.fired[mode] == 1
    if mode in HARMLESS:
        assert isinstance(result, Receipt)
        assert Cid.parse(result.reference).digest in pins_on(ipfs_daemon)
        return
    if mode == CLOSES and isinstance(result, Receipt):
        return
    expected = VerificationError if command == "block/get" and mode in OTHER_BYTES else BackendError
    assert isinstance(result, expected)
    assert SECRET not in f"{result!r}{result.hint}{result.__cause__!r}"


@pytest.mark.slow
@pytest.mark.parametrize("mode", FAULTS)
@pytest.mark.parametrize("kind", ["daemon", "gateway"])
def test_every_fault_at_a_verification(
    make_driver: MakeDriver, live: IpfsDriver, request: pytest.FixtureRequest, kind: str, mode: str
) -> None:
    receipt = anchor(live, "verified in spite of faults")
    server: FaultServer = request.getfixturevalue("proxy" if kind == "daemon" else "gateway_proxy")
    server.plan = lambda _: mode
    address = {"url": server.url} if kind == "daemon" else {"gateway_url": server.url}
    driver = make_driver(timeout=patience(mode), **address)
    result = outcome(lambda: driver.verify(receipt, receipt.commitment))
    assert server.fired[mode] > 0
    if mode in HARMLESS | {CLOSES}:
        assert isinstance(result, VerifiedAnchor)
    elif mode in OTHER_BYTES:
        assert isinstance(result, VerificationError)
    elif (kind, mode) == ("gateway", "status-404"):
        assert isinstance(result, AnchorNotFoundError)
    else:
        assert isinstance(result, BackendError)


@pytest.mark.slow
@pytest.mark.parametrize("mode", FAULTS)
def test_every_fault_at_a_status(make_driver: MakeDriver, proxy: FaultServer, mode: str) -> None:
    proxy.plan = lambda _: mode
    status = make_driver(url=proxy.url, api_token=SECRET, timeout=patience(mode)).status()
    assert proxy.fired[mode] == 1
    assert status.ready is (mode in HARMLESS | {CLOSES})
    assert SECRET not in status.detail
