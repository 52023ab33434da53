# SPDX-License-Identifier: MIT
"""The IPFS driver on a real daemon: what it stores, and what it says when the daemon is down, killed or has lost it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import multiformats
import pytest
from fault_modes import Reply, Request
from faulty import FaultServer, forward_to, on_call

from mrv_backends_ipfs.cid import Cid
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    BackendUnavailableError,
    FormatError,
    SubmissionRejectedError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.manager import BlockchainManager
from mrv_core.models import Receipt, ReceiptState
from mrv_devnet.nodes import IpfsNode

pytestmark = pytest.mark.node

MakeDriver = Callable[..., IpfsDriver]
Ask = Callable[[IpfsNode], set[bytes]]
METADATA = {"run_id": "run-1", "phase": "before_training"}
TIMEOUT_S = 20.0
SHORT_S = 4.0
"""For tests in which a daemon looks for a block that is not there: it may take half of it."""


def commitment_of(name: str) -> Digest:
    return HashFactory.digest(name.encode(), "sha256")


def anchor(driver: IpfsDriver, name: str) -> Receipt:
    return driver.submit(driver.prepare(commitment_of(name), METADATA))


def test_an_anchor_is_a_pinned_raw_block_on_the_daemon(
    live: IpfsDriver, ipfs_daemon: IpfsNode, pins_on: Ask, store_dir: Path
) -> None:
    receipt = anchor(live, "pinned")
    cid = Cid.parse(receipt.reference)
    assert receipt.state is ReceiptState.FINAL
    assert not receipt.embedded
    assert ipfs_daemon.call("block/get", receipt.reference).decode() == receipt.evidence["block"]
    assert ipfs_daemon.call("cat", receipt.reference).decode() == receipt.evidence["block"]
    assert cid.digest in pins_on(ipfs_daemon)
    verified = live.verify(receipt, commitment_of("pinned"))
    assert verified.facts["pinned"] is True
    assert verified.facts["delivered_by"] == ipfs_daemon.api_url
    assert verified.block_time is None
    assert any("when" in sentence for sentence in verified.trusts)
    assert not store_dir.exists()


def test_what_is_not_to_be_pinned_is_not_and_the_verdict_says_so(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, pins_on: Ask
) -> None:
    driver = make_driver(url=ipfs_daemon.api_url, pin=False)
    receipt = anchor(driver, "not pinned")
    assert Cid.parse(receipt.reference).digest not in pins_on(ipfs_daemon)
    verified = driver.verify(receipt, receipt.commitment)
    assert verified.facts["pinned"] is False
    assert any("repo gc" in sentence for sentence in verified.trusts)


def test_every_spelling_of_the_cid_finds_the_anchor(live: IpfsDriver) -> None:
    receipt = anchor(live, "spellings")
    cid = multiformats.CID.decode(receipt.reference)
    for base in ("base16", "base16upper", "base32", "base32upper", "base58btc", "base64", "base64url"):
        assert live.lookup(cid.encode(base)).reference == receipt.reference


@pytest.mark.parametrize(
    ("hash_function", "size"), [("identity", 5), ("sha1", 20), ("sha2-512", 64), ("blake3", 32), ("md5", 16)]
)
def test_weak_and_other_multihashes_are_refused_before_anybody_is_asked(
    make_driver: MakeDriver, proxy: FaultServer, hash_function: str, size: int
) -> None:
    digest = multiformats.multihash.digest(b"hello", hash_function, size=size)
    with pytest.raises(FormatError, match="sha2-256"):
        make_driver(url=proxy.url).lookup(str(multiformats.CID("base32", 1, "raw", digest)))
    assert proxy.requests == []


def test_a_truncated_multihash_is_refused(live: IpfsDriver) -> None:
    cid = Cid.parse(anchor(live, "truncated").reference)
    short = b"\x01\x55\x12\x10" + cid.digest[:16]
    with pytest.raises(FormatError, match="32 digest bytes"):
        live.lookup("f" + short.hex())


def test_the_same_bytes_as_another_kind_of_block_are_no_anchor(live: IpfsDriver) -> None:
    cid = Cid.parse(anchor(live, "codec").reference)
    with pytest.raises(AnchorNotFoundError, match="raw"):
        live.lookup(str(Cid(0x70, cid.digest)))
    with pytest.raises(AnchorNotFoundError, match="raw"):
        live.lookup(str(multiformats.CID("base58btc", 0, "dag-pb", b"\x12\x20" + cid.digest)))


def test_a_block_that_is_no_statement_is_no_anchor(live: IpfsDriver, ipfs_daemon: IpfsNode) -> None:
    block = b'{"format":"mrv-statement/1"}'
    ipfs_daemon.call("block/put", body=block, format="raw", cid_codec="raw", mhtype="sha2-256", version="1")
    with pytest.raises(AnchorNotFoundError, match="not an anchor"):
        live.lookup(str(Cid.of(block)))


def test_url_and_multiaddr_reach_the_same_daemon(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, live: IpfsDriver
) -> None:
    receipt = anchor(live, "multiaddr")
    port = ipfs_daemon.port("api")
    for url in (f"/ip4/127.0.0.1/tcp/{port}/http", f"/dns4/localhost/tcp/{port}", f"{ipfs_daemon.api_url}/api/v0/"):
        driver = make_driver(url=url, timeout=TIMEOUT_S)
        assert driver.lookup(receipt.reference).evidence == receipt.evidence


@pytest.mark.parametrize("pin", [True, False])
def test_find_answers_from_the_commitment_alone_and_lets_nobody_look_for_it(
    make_driver: MakeDriver, proxy: FaultServer, pin: bool
) -> None:
    driver = make_driver(url=proxy.url, timeout=TIMEOUT_S, pin=pin)
    assert driver.capabilities.searches
    receipt = anchor(driver, f"found {pin}")
    found = driver.find(receipt.commitment, METADATA)
    assert found is not None
    assert (found.reference, found.evidence) == (receipt.reference, receipt.evidence)
    proxy.requests.clear()
    assert driver.find(receipt.commitment, {**METADATA, "phase": "after_training"}) is None
    asked = ["pin/ls"] if pin else ["repo/stat", "refs/local"]
    assert proxy.calls() == [f"POST /api/v0/{command}" for command in asked]


def test_eight_threads_share_one_driver(live: IpfsDriver, ipfs_daemon: IpfsNode, blocks_on: Ask) -> None:
    def work(number: int) -> str:
        receipt = anchor(live, f"thread {number}")
        live.verify(live.upgrade(receipt), receipt.commitment)
        return receipt.reference

    with ThreadPoolExecutor(8) as pool:
        references = list(pool.map(work, range(40)))
    assert {Cid.parse(reference).digest for reference in references} <= blocks_on(ipfs_daemon)
    assert len(set(references)) == 40


def test_after_garbage_collection_an_unpinned_block_is_not_found(
    make_driver: MakeDriver, new_ipfs: Callable[..., IpfsNode]
) -> None:
    node = new_ipfs()
    driver = make_driver(url=node.api_url, timeout=SHORT_S)
    kept, lost = anchor(driver, "kept"), anchor(driver, "lost")
    node.call("pin/rm", lost.reference)
    node.call("repo/gc")
    assert driver.verify(kept, kept.commitment).state is ReceiptState.FINAL
    for call in (lambda: driver.verify(lost, lost.commitment), lambda: driver.upgrade(lost)):
        with pytest.raises(AnchorNotFoundError, match=lost.reference) as caught:
            call()
        assert "receipt holds the whole block" in (caught.value.hint or "")
    again = driver.submit(driver.prepare(lost.commitment, METADATA))
    assert again.reference == lost.reference
    assert driver.verify(lost, lost.commitment).facts["pinned"] is True


def test_a_daemon_that_is_down_is_could_not_check_and_an_anchor_survives_its_restart(
    make_driver: MakeDriver, new_ipfs: Callable[..., IpfsNode]
) -> None:
    node = new_ipfs()
    driver = make_driver(url=node.api_url, timeout=TIMEOUT_S)
    receipt, prepared = anchor(driver, "restart"), driver.prepare(commitment_of("later"), METADATA)
    assert driver.status().ready
    node.stop()
    status = driver.status()
    assert not status.ready
    assert node.api_url in status.detail
    for call in (
        lambda: driver.verify(receipt, receipt.commitment),
        lambda: driver.upgrade(receipt),
        lambda: driver.lookup(receipt.reference),
        lambda: driver.find(receipt.commitment, METADATA),
        lambda: driver.submit(prepared),
    ):
        with pytest.raises(BackendUnavailableError, match="refuses the connection") as caught:
            call()
        assert caught.value.retryable
    node.start()
    assert driver.verify(receipt, receipt.commitment).facts["pinned"] is True
    assert driver.submit(prepared).reference == prepared.reference


def test_a_daemon_that_stands_still_is_not_waited_for_beyond_the_timeout(
    make_driver: MakeDriver, new_ipfs: Callable[..., IpfsNode]
) -> None:
    node = new_ipfs()
    receipt = anchor(make_driver(url=node.api_url, timeout=TIMEOUT_S), "stopped")
    hasty = make_driver(url=node.api_url, timeout=0.5)
    node.send(signal.SIGSTOP)
    try:
        with pytest.raises(BackendUnavailableError, match="does not answer in time"):
            hasty.verify(receipt, receipt.commitment)
        assert not hasty.status().ready
    finally:
        node.send(signal.SIGCONT)


@pytest.mark.parametrize("command", ["block/put", "pin/add", "block/get"])
def test_a_daemon_killed_while_it_stores_gives_no_receipt_and_the_same_bytes_go_out_again(
    make_driver: MakeDriver, new_ipfs: Callable[..., IpfsNode], blocks_on: Ask, pins_on: Ask, command: str
) -> None:
    node = new_ipfs()

    def kill_after(request: Request) -> Reply:
        reply = forward(request)
        if request.call == f"POST /api/v0/{command}":
            node.kill()
        return reply

    forward = forward_to(node.api_url)
    plan = on_call(0, "forward-then-reset", method=f"POST /api/v0/{command}")
    with FaultServer(kill_after, plan) as proxy:
        driver = make_driver(url=proxy.url, timeout=TIMEOUT_S)
        prepared = driver.prepare(commitment_of(f"killed in {command}"), METADATA)
        with pytest.raises(BackendError):
            driver.submit(prepared)
        assert proxy.fired["forward-then-reset"] == 1
        assert not node.is_running()
        node.start()
        before = blocks_on(node)
    healthy = make_driver(url=node.api_url, timeout=TIMEOUT_S)
    receipt = healthy.submit(prepared)
    digest = Cid.parse(prepared.reference).digest
    assert receipt.reference == prepared.reference
    assert blocks_on(node) - before <= {digest}
    assert digest in blocks_on(node) & pins_on(node)
    healthy.verify(receipt, receipt.commitment)


def test_a_reply_that_is_lost_after_storing_is_no_failure_of_the_journal(
    tmp_path: Path, proxy: FaultServer, ipfs_daemon: IpfsNode, pins_on: Ask
) -> None:
    proxy.plan = on_call(0, "forward-then-reset", method="POST /api/v0/block/put")
    section = {"ipfs": {"url": proxy.url, "timeout": TIMEOUT_S}}
    with BlockchainManager({"blockchain": section}, base_dir=tmp_path, sleep=lambda _: None) as manager:
        outcome = manager.anchor(commitment_of("lost reply"), METADATA)["ipfs"]
        assert proxy.fired["forward-then-reset"] == 1
        assert outcome.error is None
        assert outcome.receipt is not None
        assert Cid.parse(outcome.receipt.reference).digest in pins_on(ipfs_daemon)
        assert manager.flush() == []


def test_a_daemon_that_stores_under_another_cid_is_refused(make_driver: MakeDriver, ipfs_daemon: IpfsNode) -> None:
    forward = forward_to(ipfs_daemon.api_url)

    def other_key(request: Request) -> Reply:
        reply = forward(request)
        if request.call != "POST /api/v0/block/put":
            return reply
        answer = json.loads(reply.body)
        cid = Cid.parse(answer["Key"])
        return Reply.json({**answer, "Key": str(Cid(0x70, cid.digest))})

    with FaultServer(other_key) as server, pytest.raises(SubmissionRejectedError, match="stores the block as bafybei"):
        anchor(make_driver(url=server.url), "another cid")


def test_a_pin_that_the_daemon_refuses_gives_no_receipt(make_driver: MakeDriver, ipfs_daemon: IpfsNode) -> None:
    forward = forward_to(ipfs_daemon.api_url)

    def no_pins(request: Request) -> Reply:
        reply = forward(request)
        if request.call != "POST /api/v0/pin/add":
            return reply
        return Reply.json({"Message": "pin: disk is full", "Code": 0, "Type": "error"}, status=500)

    with FaultServer(no_pins) as server, pytest.raises(BackendError, match="disk is full") as caught:
        anchor(make_driver(url=server.url), "no pin")
    assert caught.value.retryable


def test_the_token_is_sent_and_shown_nowhere(make_driver: MakeDriver, ipfs_daemon: IpfsNode) -> None:
    token = "a-token-that-must-not-be-shown"
    forward = forward_to(ipfs_daemon.api_url)

    def guarded(request: Request) -> Reply:
        if request.headers.get("authorization") == f"Bearer {token}":
            return forward(request)
        message = f"forbidden for {request.headers.get('authorization')}"
        return Reply.json({"Message": message, "Code": 0, "Type": "error"}, status=500)

    with FaultServer(guarded) as server:
        receipt = anchor(make_driver(url=server.url, api_token=token), "token")
        assert token not in receipt.to_bytes().decode()
        wrong = make_driver(url=server.url, api_token=f"{token[:-1]}X")
        with pytest.raises(BackendError) as caught:
            anchor(wrong, "token")
        shown = f"{caught.value!r}{caught.value.hint}{wrong.status()}"
        assert "***" in shown
        assert token[:-1] not in shown


def test_a_daemon_that_refuses_the_credentials_says_so(make_driver: MakeDriver, proxy: FaultServer) -> None:
    proxy.plan = lambda _: "status-401"
    with pytest.raises(BackendError, match="refuses our credentials"):
        anchor(make_driver(url=proxy.url.replace("http://", "http://user:secret-word@")), "unauthorised")


def test_nothing_of_the_library_is_shown_and_nothing_heavy_is_loaded_before(
    ipfs_daemon: IpfsNode, tmp_path: Path
) -> None:
    script = """
import sys
from pathlib import Path
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.settings import IpfsSettings
from mrv_core.driver import DriverContext
from mrv_core.hashing import HashFactory
driver = IpfsDriver(DriverContext("ipfs", IpfsSettings(url=sys.argv[1]), Path("nowhere")))
print(sorted({"ipfshttpclient", "requests", "urllib3"} & set(sys.modules)))
commitment = HashFactory.digest(b"quiet", "sha256")
receipt = driver.submit(driver.prepare(commitment, {}))
print(driver.verify(receipt, commitment).state)
driver.close()
"""
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", script, ipfs_daemon.api_url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("[]\nFINAL\n", "")


def test_variables_of_the_library_change_nothing(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PY_IPFS_HTTP_CLIENT_DEFAULT_USERNAME", "somebody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    anchor(make_driver(url=ipfs_daemon.api_url, timeout=TIMEOUT_S), "variables")
