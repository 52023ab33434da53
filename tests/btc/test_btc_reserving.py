# SPDX-License-Identifier: MIT
"""A wallet with one coin can anchor again, whatever answer was lost while it was being kept for an anchor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from btc.support import MakeDriver, anchor, commitment_of, count_anchors, pay
from fault_modes import Reply, Request
from faulty import FaultServer, forward_to, on_call

from mrv_core.errors import BackendUnavailableError
from mrv_core.models import NO_METADATA, ReceiptState
from mrv_devnet.nodes import BitcoinNode

LOST = "forward-then-fin"


def locked(node: BitcoinNode, wallet: str) -> list[dict[str, Any]]:
    return node.wallet_rpc(wallet, "listlockunspent")


def coins(node: BitcoinNode, wallet: str) -> list[dict[str, Any]]:
    """What the wallet could spend, as the node names it when it is to be locked."""
    return [{"txid": each["txid"], "vout": each["vout"]} for each in node.wallet_rpc(wallet, "listunspent")]


def from_call_on(method: str) -> Callable[[Request], str | None]:
    """Plan that every answer is lost from the first call of a method on, as a process that dies there loses them."""
    begun = False

    def plan(request: Request) -> str | None:
        nonlocal begun
        begun = begun or request.call == method
        return LOST if begun else None

    return plan


@contextmanager
def rivalled(node: BitcoinNode, wallet: str, times: int) -> Iterator[FaultServer]:
    """Serve a node on which somebody else locks what the wallet has just chosen, some times."""
    forward, left = forward_to(node.url), times

    def answer(asked: Request) -> Reply:
        nonlocal left
        reply = forward(asked)
        if asked.call == "walletcreatefundedpsbt" and left:
            left -= 1
            decoded = node.rpc("decodepsbt", json.loads(reply.body)["result"]["psbt"])
            taken = [{"txid": each["txid"], "vout": each["vout"]} for each in decoded["tx"]["vin"]]
            node.wallet_rpc(wallet, "lockunspent", False, taken)
        return reply

    with FaultServer(answer) as server:
        yield server
        assert left == 0


@pytest.mark.parametrize("method", ["walletcreatefundedpsbt", "lockunspent", "walletprocesspsbt", "testmempoolaccept"])
@pytest.mark.parametrize("dies", [False, True], ids=["goes on", "dies"])
def test_a_lost_answer_does_not_cost_the_only_coin(
    regtest: BitcoinNode, make_driver: MakeDriver, method: str, dies: bool
) -> None:
    wallet = f"one-{method}-{dies}"
    pay(regtest, wallet, 0.01)
    commitment = commitment_of(wallet)
    with FaultServer(forward_to(regtest.url)) as server:
        server.plan = from_call_on(method) if dies else on_call(0, LOST, method=method)
        with pytest.raises(BackendUnavailableError) as failure:
            make_driver(regtest, wallet=wallet, rpc_url=server.url).prepare(commitment, NO_METADATA)
        assert server.fired[LOST] >= 1
    assert failure.value.retryable
    assert dies or locked(regtest, wallet) == []
    receipt = anchor(make_driver(regtest, wallet=wallet), regtest, commitment)
    assert receipt.state is ReceiptState.FINAL
    assert count_anchors(regtest, commitment) == 1
    assert locked(regtest, wallet) == []


def test_what_is_locked_was_written_down_before(regtest: BitcoinNode, make_driver: MakeDriver, tmp_path: Path) -> None:
    pay(regtest, "noted", 0.01)
    [coin] = coins(regtest, "noted")
    forward, notes = forward_to(regtest.url), []

    def answer(asked: Request) -> Reply:
        if asked.call == "lockunspent":
            notes.append(json.loads((tmp_path / "bitcoin" / "reserved.json").read_bytes()))
        else:
            assert locked(regtest, "noted") == [] or notes, "nothing is locked that no note names"
        return forward(asked)

    with FaultServer(answer) as server:
        make_driver(regtest, wallet="noted", rpc_url=server.url).prepare(commitment_of("noted"), NO_METADATA)
    assert notes == [{"wallet": "noted", "outputs": [coin]}]
    assert locked(regtest, "noted") == [coin]


def test_a_coin_that_somebody_else_took_meanwhile_is_left_to_them(
    regtest: BitcoinNode, make_driver: MakeDriver
) -> None:
    """And what the failed attempt wrote down releases nothing later."""
    pay(regtest, "raced", 0.01)
    taken = coins(regtest, "raced")
    with rivalled(regtest, "raced", 1) as server:
        driver = make_driver(regtest, wallet="raced", rpc_url=server.url)
        for _ in range(2):
            with pytest.raises(BackendUnavailableError, match="1 outputs are locked") as failure:
                driver.prepare(commitment_of("raced"), NO_METADATA)
            assert failure.value.retryable
            assert locked(regtest, "raced") == taken


def test_another_coin_is_chosen_when_somebody_else_took_the_first(
    regtest: BitcoinNode, make_driver: MakeDriver
) -> None:
    pay(regtest, "rich", 0.01, times=3)
    with rivalled(regtest, "rich", 2) as server:
        driver = make_driver(regtest, wallet="rich", rpc_url=server.url)
        prepared = driver.prepare(commitment_of("rich"), NO_METADATA)
        assert server.calls().count("walletcreatefundedpsbt") == 3
    spent = regtest.rpc("decoderawtransaction", prepared.payload_hex)["vin"]
    assert len(locked(regtest, "rich")) == 3
    assert len(spent) == 1


def test_whoever_takes_every_choice_is_given_way_to(regtest: BitcoinNode, make_driver: MakeDriver) -> None:
    pay(regtest, "crowd", 0.001, times=11)
    with rivalled(regtest, "crowd", 10) as server:
        with pytest.raises(BackendUnavailableError, match="others keep taking") as failure:
            make_driver(regtest, wallet="crowd", rpc_url=server.url).prepare(commitment_of("crowd"), NO_METADATA)
    assert failure.value.retryable
    assert len(locked(regtest, "crowd")) == 10, "what the others have"


def test_a_replacement_does_not_lose_the_coin_that_it_adds(regtest: BitcoinNode, make_driver: MakeDriver) -> None:
    """It needs another coin to pay more, and loses the answer that says that it is locked."""
    pay(regtest, "outbid", 0.001)
    ample = coins(regtest, "outbid")
    pay(regtest, "outbid", 0.00003)
    regtest.wallet_rpc("outbid", "lockunspent", False, ample)
    driver = make_driver(regtest, wallet="outbid", fee_rate=1)
    prepared = driver.prepare(commitment_of("outbid"), NO_METADATA)
    receipt = driver.submit(prepared)
    regtest.wallet_rpc("outbid", "lockunspent", True, ample)
    with FaultServer(forward_to(regtest.url), on_call(0, LOST, method="lockunspent")) as server:
        dear = make_driver(regtest, wallet="outbid", rpc_url=server.url, fee_rate=40, replace_after_blocks=1)
        aged = prepared.model_copy(update={"details": {**prepared.details, "height": prepared.details["height"] - 1}})
        with pytest.raises(BackendUnavailableError):
            dear.replace(aged, receipt)
        assert server.fired == {LOST: 1}
        assert locked(regtest, "outbid") == [], "or a replacement that is all that is left to do could never be paid"
        better = dear.replace(aged, receipt)
    assert better is not None
    dear_receipt = make_driver(regtest, wallet="outbid").submit(better)
    regtest.mine(1)
    assert driver.upgrade(dear_receipt).state is ReceiptState.FINAL
    assert count_anchors(regtest, prepared.commitment) == 1
    assert locked(regtest, "outbid") == []
