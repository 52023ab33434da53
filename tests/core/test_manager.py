# SPDX-License-Identifier: MIT
"""One network that fails, hangs or lies neither loses its anchor nor disturbs the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anchoring import FakeTime, chain_of, commitment_of, make_manager, memory_registry

from mrv_core.config import load_config
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    StorageError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.journal import Journal, JournalRow, JournalState
from mrv_core.manager import AnchorOutcome, BlockchainManager, parse_commitment
from mrv_core.models import ReceiptState, VerifiedAnchor
from mrv_core.registry import Registry
from mrv_core.testing import plugin
from mrv_core.testing.memory import Fault, MemoryDriver

ONE, TWO, THREE = commitment_of("one"), commitment_of("two"), commitment_of("three")
LATER: dict[str, Any] = {"instant_mining": False, "finality_depth": 3}


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def make(tmp_path: Path, time: FakeTime) -> Iterator[Any]:
    """Return a function from networks' settings to a manager whose time is `time`."""
    made: list[BlockchainManager] = []

    def make(base_dir: Path = tmp_path, real_time: bool = False, **networks: dict[str, Any]) -> BlockchainManager:
        clock = {} if real_time else {"sleep": time.sleep, "clock": time.clock}
        made.append(make_manager(base_dir, networks or {"alpha": {}, "beta": {}, "gamma": {}}, **clock))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


def driver_of(manager: BlockchainManager, network: str = "alpha") -> MemoryDriver:
    driver = manager.driver(network)
    assert isinstance(driver, MemoryDriver)
    return driver


def row_of(manager: BlockchainManager, commitment: Digest = ONE, network: str = "alpha") -> JournalRow:
    return manager.journal.find(commitment, network)


def count(manager: BlockchainManager, commitment: Digest = ONE, network: str = "alpha") -> int:
    return chain_of(manager.base_dir, network).count(commitment)


def unavailable(**options: Any) -> BackendUnavailableError:
    return BackendUnavailableError("alpha is down", retryable=True, **options)


def join_workers(network: str) -> None:
    for thread in threading.enumerate():
        if thread.name == f"mrv-{network}":
            thread.join()


# What goes well.


def test_a_root_is_anchored_on_every_selected_network(make):
    manager = make()
    transactions = manager.store_merkle_hash(ONE.hex, {"run_id": "run-1"})
    assert list(transactions) == ["alpha", "beta", "gamma"]
    for network, reference in transactions.items():
        assert row_of(manager, network=network).state is JournalState.FINAL
        assert chain_of(manager.base_dir, network).find(reference).confirmations == 1
        assert count(manager, network=network) == 1
    verified = manager.verify_merkle_hash(ONE, transactions)
    assert [type(anchor) for anchor in verified.values()] == [VerifiedAnchor] * 3
    assert {anchor.reference for anchor in verified.values()} == set(transactions.values())
    receipts = manager.get_transaction_info(transactions)
    assert {name: receipt.reference for name, receipt in receipts.items()} == transactions


def test_anchoring_again_anchors_nothing_more(make, tmp_path):
    manager = make()
    first = manager.store_merkle_hash(ONE)
    assert manager.store_merkle_hash(ONE, {"other": "metadata"}) == first
    assert make(tmp_path).store_merkle_hash(ONE) == first
    assert [count(manager, network=name) for name in first] == [1, 1, 1]


def test_only_the_named_networks_are_used(make):
    manager = make()
    assert list(manager.store_merkle_hash(ONE, networks=["gamma"])) == ["gamma"]
    assert not chain_of(manager.base_dir, "alpha").path.exists()
    with pytest.raises(ConfigurationError, match="unknown network 'gama'"):
        manager.store_merkle_hash(TWO, networks=["alpha", "gama"])
    assert manager.journal.rows(commitment=TWO) == []


def test_where_anchoring_is_switched_off_nothing_is_created(tmp_path):
    config = load_config(
        {"blockchain": {"enabled": False, "alpha": {"driver": "memory"}}}, registry=memory_registry(), environment={}
    )
    with BlockchainManager(config, base_dir=tmp_path / "artifacts", registry=memory_registry()) as manager:
        assert manager.store_merkle_hash(ONE) == {}
        assert manager.flush() == []
    assert not (tmp_path / "artifacts").exists()


def test_a_manager_reads_a_configuration_itself(tmp_path):
    document = {"blockchain": {"alpha": {"driver": "memory"}}}
    with BlockchainManager(document, base_dir=str(tmp_path), registry=memory_registry()) as manager:
        assert list(manager.store_merkle_hash(ONE)) == ["alpha"]
        driver = driver_of(manager)
    assert driver.released.is_set(), "leaving the block closes the drivers"


@pytest.mark.parametrize("text", [ONE, str(ONE), ONE.hex, f"0x{ONE.hex.upper()}"])
def test_a_commitment_may_be_written_in_these_ways(text):
    assert parse_commitment(text) == ONE


@pytest.mark.parametrize("text", ["", "abc", "md5:00", "sha256:" + "AB" * 32, None, b"bytes", 5])
def test_anything_else_is_no_commitment(make, text):
    manager = make()
    for attempt in (manager.store_merkle_hash, lambda root: manager.verify_merkle_hash(root, {})):
        with pytest.raises(FormatError):
            attempt(text)
    assert not manager.journal.path.exists()


def test_status_asks_every_network(make):
    manager = make()
    driver_of(manager, "beta").script("status", Fault.UNAVAILABLE)
    assert [(name, status.ready) for name, status in manager.status().items()] == [
        ("alpha", True),
        ("beta", False),
        ("gamma", True),
    ]


# A network that is down.


def test_one_network_down_loses_nothing_and_costs_the_others_nothing(make):
    manager = make()
    driver_of(manager).script("prepare", *[Fault.UNAVAILABLE] * 3)
    outcomes = manager.anchor(ONE)
    assert [outcome.receipt is not None for outcome in outcomes.values()] == [False, True, True]
    assert isinstance(outcomes["alpha"].error, BackendUnavailableError)
    assert outcomes["beta"] == AnchorOutcome("beta", row_of(manager, network="beta").receipt, None)
    row = row_of(manager)
    assert (row.state, row.error) == (JournalState.QUEUED, "alpha is unavailable, as scripted")
    assert manager.flush() == []
    assert row_of(manager).state is JournalState.FINAL
    assert row_of(manager).error is None
    assert [count(manager, network=name) for name in outcomes] == [1, 1, 1]


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_attempts_are_those_of_the_configuration_and_delays_grow(make, time, attempts, caplog):
    caplog.set_level(logging.WARNING)
    manager = make(alpha={"retry_attempts": attempts})
    driver_of(manager).script("prepare", *[Fault.UNAVAILABLE] * (attempts - 1))
    assert list(manager.store_merkle_hash(ONE)) == ["alpha"]
    assert len(time.sleeps) == attempts - 1
    assert all(0.2 * 2**i <= delay <= 0.2 * 2**i + 0.2 for i, delay in enumerate(time.sleeps))
    assert caplog.text.count("next attempt in") == attempts - 1
    assert "lambda" not in caplog.text


def test_only_retryable_errors_are_tried_again(make, time):
    manager = make(alpha={"retry_attempts": 9})
    driver_of(manager).script("prepare", BackendError("401 unauthorised"))
    assert manager.store_merkle_hash(ONE) == {}
    assert time.sleeps == []
    assert row_of(manager).error == "401 unauthorised"


def test_a_network_that_asks_for_time_gets_it(make, time):
    manager = make(alpha={})
    driver_of(manager).script("submit", unavailable(retry_after_s=7.5), unavailable(retry_after_s=0.001))
    assert list(manager.store_merkle_hash(ONE)) == ["alpha"]
    assert time.sleeps[0] == 7.5
    assert time.sleeps[1] >= 0.2


def test_more_time_than_the_timeout_is_not_waited_for(make, time):
    manager = make(alpha={"timeout": 10})
    driver_of(manager).script("submit", unavailable(retry_after_s=3600))
    outcome = manager.anchor(ONE)["alpha"]
    assert time.sleeps == []
    assert outcome.error.retry_after_s == 3600
    assert row_of(manager).state is JournalState.PREPARED


def test_one_timeout_covers_all_steps_of_an_anchor(make, time):
    manager = make(alpha={"timeout": 10})
    driver_of(manager).script("prepare", unavailable(retry_after_s=6))
    driver_of(manager).script("submit", unavailable(retry_after_s=6))
    assert manager.store_merkle_hash(ONE) == {}
    assert time.sleeps == [6], "a second wait would have ended after 12 of 10 seconds"
    assert row_of(manager).state is JournalState.PREPARED
    assert manager.flush() == []
    assert count(manager) == 1


def test_no_step_begins_after_the_deadline(make, time):
    manager = make(alpha={"timeout": 10})
    driver = driver_of(manager)
    prepare = driver.prepare
    driver.prepare = lambda *args: (time.sleep(11), prepare(*args))[1]
    outcome = manager.anchor(ONE)["alpha"]
    assert str(outcome.error) == "alpha: no answer within 10 s"
    join_workers("alpha")
    assert (row_of(manager).state, count(manager)) == (JournalState.PREPARED, 0)


def test_an_anchor_behind_slow_older_ones_stays_queued_without_blame(make, time):
    manager = make(alpha={"timeout": 10})
    driver = driver_of(manager)
    driver.script("prepare", *[Fault.UNAVAILABLE] * 3)
    manager.anchor(ONE)
    submit = driver.submit
    driver.submit = lambda prepared: (time.sleep(11), submit(prepared))[1]
    outcome = manager.anchor(TWO)["alpha"]
    join_workers("alpha")
    assert row_of(manager, ONE).state is JournalState.FINAL
    assert "no answer within 10 s" in str(outcome.error)
    assert (row_of(manager, TWO).state, row_of(manager, TWO).error) == (JournalState.QUEUED, None)


def test_flushing_gives_each_anchor_its_own_timeout(make, time):
    manager = make(alpha={"timeout": 10, "retry_attempts": 1})
    driver = driver_of(manager)
    driver.script("prepare", Fault.UNAVAILABLE, Fault.UNAVAILABLE, Fault.UNAVAILABLE)
    for commitment in (ONE, TWO, THREE):
        manager.anchor(commitment)
    submit = driver.submit
    driver.submit = lambda prepared: (time.sleep(8), submit(prepared))[1]
    assert manager.flush() == []
    assert [count(manager, commitment) for commitment in (ONE, TWO, THREE)] == [1, 1, 1]


def test_a_network_that_is_down_is_waited_for_once_and_not_once_a_row(make, time):
    manager = make(alpha={**LATER})
    for commitment in (ONE, TWO, THREE):
        manager.anchor(commitment)
    driver_of(manager).script("upgrade", *[Fault.UNAVAILABLE] * 20)
    rows = manager.flush()
    assert len(time.sleeps) == 2
    assert [row.error for row in rows] == ["alpha is unavailable, as scripted"] * 3


def test_what_is_queued_behind_a_network_that_is_down_is_not_tried(make):
    manager = make(alpha={"retry_attempts": 1})
    driver_of(manager).script("prepare", *[Fault.UNAVAILABLE] * 4)
    for commitment in (ONE, TWO, THREE):
        manager.anchor(commitment)
    assert [row.error is None for row in manager.journal.rows()] == [False, True, True]
    assert [row.error is None for row in manager.flush()] == [False, True, True]
    assert manager.flush() == []


def test_a_network_that_answers_too_late_takes_one_timeout_and_not_one_a_row(make, time):
    manager = make(alpha={**LATER, "timeout": 10})
    for commitment in (ONE, TWO, THREE):
        manager.anchor(commitment)
    started = time.now

    def time_out(receipt):
        time.sleep(9)
        raise unavailable()

    driver_of(manager).upgrade = time_out
    assert len(manager.flush()) == 3
    assert time.now - started < 30


def test_after_a_success_retries_are_worth_it_again(make, time):
    manager = make(alpha={**LATER, "retry_attempts": 2})
    for commitment in (ONE, TWO, THREE):
        manager.anchor(commitment)
    down = [Fault.UNAVAILABLE] * 2
    driver = driver_of(manager)
    upgrades = iter([*down, None, *down])
    upgrade = driver.upgrade

    def flaky(receipt):
        if (fault := next(upgrades, None)) is not None:
            driver.script("upgrade", fault)
        return upgrade(receipt)

    driver.upgrade = flaky
    rows = manager.flush()
    assert [row.error is None for row in rows] == [False, True, False]
    assert len(time.sleeps) == 2


# A network that hangs.


def test_a_hanging_network_delays_nobody_and_its_late_success_is_kept(make):
    manager = make(real_time=True, alpha={"timeout": 0.5}, beta={}, gamma={})
    driver_of(manager).script("submit", Fault.HANG)
    outcomes = manager.anchor(ONE)
    assert [outcome.receipt is not None for outcome in outcomes.values()] == [False, True, True]
    assert str(outcomes["alpha"].error) == "alpha: no answer within 0.5 s"
    assert outcomes["alpha"].error.retryable
    assert row_of(manager).state is JournalState.PREPARED
    driver_of(manager).released.set()
    join_workers("alpha")
    assert row_of(manager).state is JournalState.FINAL
    assert (manager.flush(), count(manager)) == ([], 1)


def test_a_late_failure_is_written_down_and_a_late_defect_logged(make, caplog):
    manager = make(real_time=True, alpha={"timeout": 0.5, "retry_attempts": 1})
    driver_of(manager).script("submit", Fault.HANG)
    submit = driver_of(manager).submit

    def fail_late(prepared):
        submit(prepared)
        raise unavailable()

    driver_of(manager).submit = fail_late
    manager.anchor(ONE)
    assert row_of(manager).error is None
    driver_of(manager).released.set()
    join_workers("alpha")
    assert row_of(manager).error == "alpha is down"
    held = threading.Event()

    def break_late(network):
        held.wait()
        raise ZeroDivisionError

    assert isinstance(manager.parallel(["alpha"], break_late)["alpha"], BackendUnavailableError)
    held.set()
    join_workers("alpha")
    assert "after its deadline" in caplog.text
    assert "ZeroDivisionError" in caplog.text


class SlowRegistry(Registry):
    """Builds the driver of one network only when it is told to, as when a library hangs while it is imported."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def create(self, driver, context):
        if context.network == "alpha":
            self.go.wait()
        return super().create(driver, context)


def test_building_one_driver_delays_no_other(tmp_path):
    registry = SlowRegistry()
    registry.add_plugin(plugin, "memory")
    manager = make_manager(tmp_path, {"alpha": {"timeout": 0.05}, "beta": {}}, registry=registry)
    assert list(manager.store_merkle_hash(ONE)) == ["beta"]
    registry.go.set()
    join_workers("alpha")
    assert manager.flush() == []
    assert [count(manager, network=name) for name in ("alpha", "beta")] == [1, 1]
    manager.close()


def test_while_one_thread_hangs_on_a_network_the_next_anchor_is_queued(make):
    manager = make(real_time=True, alpha={"timeout": 0.5})
    driver_of(manager).script("prepare", Fault.HANG)
    manager.anchor(ONE)
    outcome = manager.anchor(TWO)["alpha"]
    assert "another process has been anchoring" in str(outcome.error)
    assert row_of(manager, TWO).state is JournalState.QUEUED
    driver_of(manager).released.set()
    join_workers("alpha")
    assert manager.flush() == []
    assert [count(manager, commitment) for commitment in (ONE, TWO)] == [1, 1]


# Replies that are lost, refused or false.


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_lost_reply_never_anchors_twice(make, attempts):
    manager = make(alpha={"retry_attempts": attempts})
    driver_of(manager).script("submit", Fault.LOST_REPLY)
    transactions = manager.store_merkle_hash(ONE)
    assert list(transactions) == ([] if attempts == 1 else ["alpha"])
    assert row_of(manager).state is (JournalState.PREPARED if attempts == 1 else JournalState.FINAL)
    assert manager.flush() == []
    assert count(manager) == 1
    assert chain_of(manager.base_dir, "alpha").height() == 1


def test_what_a_network_refuses_is_closed_with_its_reason_and_can_be_anchored_again(make):
    manager = make(alpha={}, beta={})
    manager.anchor(TWO)
    driver_of(manager).script("submit", Fault.REJECTED)
    outcome = manager.anchor(ONE)["alpha"]
    assert isinstance(outcome.error, SubmissionRejectedError)
    assert outcome.receipt is None
    row = row_of(manager)
    assert (row.state, row.error) == (JournalState.REJECTED, "alpha refused the call, as scripted")
    assert manager.flush() == []
    assert count(manager) == 0
    assert list(manager.store_merkle_hash(ONE)) == ["alpha", "beta"]
    assert count(manager) == 1


def test_a_refusal_of_what_is_there_already_is_no_refusal(make):
    manager = make(alpha={"retry_attempts": 1})
    driver_of(manager).script("submit", Fault.LOST_REPLY, Fault.REJECTED)
    manager.anchor(ONE)
    assert row_of(manager).state is JournalState.PREPARED
    assert manager.flush() == []
    assert row_of(manager).state is JournalState.FINAL
    assert count(manager) == 1


def test_a_refusal_that_cannot_be_checked_decides_nothing(make):
    manager = make(alpha={"retry_attempts": 1})
    manager.anchor(TWO)
    driver_of(manager).script("submit", Fault.REJECTED)
    driver_of(manager).script("lookup", Fault.UNAVAILABLE)
    assert isinstance(manager.anchor(ONE)["alpha"].error, BackendUnavailableError)
    assert row_of(manager).state is JournalState.PREPARED
    assert manager.flush() == []
    assert count(manager) == 1


def test_a_refusal_for_now_is_tried_again(make, time):
    manager = make(alpha={"retry_attempts": 2})
    later = SubmissionRejectedError("the mempool is full", retryable=True)
    driver_of(manager).script("submit", later, later)
    assert manager.anchor(ONE)["alpha"].error is later
    assert row_of(manager).state is JournalState.PREPARED
    assert len(time.sleeps) == 1
    assert manager.flush() == []


@pytest.mark.parametrize(
    ("method", "state", "anchored"),
    [("prepare", JournalState.QUEUED, 0), ("submit", JournalState.PREPARED, 1), ("upgrade", JournalState.SUBMITTED, 1)],
)
def test_an_answer_about_another_commitment_is_never_recorded(make, method, state, anchored):
    manager = make(alpha={**LATER})
    driver_of(manager).script(method, Fault.LIE)
    error = manager.anchor(ONE)["alpha"].error
    if method == "upgrade":
        chain_of(manager.base_dir, "alpha").mine()
        manager.flush()
    else:
        assert isinstance(error, VerificationError)
    row = row_of(manager)
    assert row.state is state
    assert str(ONE) in row.error
    assert count(manager) == anchored
    manager.flush()
    assert row_of(manager).error is None
    assert count(manager) == 1


# Drivers with defects.


@pytest.mark.parametrize(
    "defect", [KeyError("http://user:sentinel-4711@node"), RuntimeError("sentinel-4711"), SystemExit(3)]
)
@pytest.mark.parametrize("method", ["prepare", "submit"])
def test_an_exception_of_a_library_reaches_nobody(make, caplog, defect, method):
    caplog.set_level(logging.DEBUG)
    manager = make(alpha={}, beta={})
    driver_of(manager).script(method, defect) if isinstance(defect, Exception) else _raise_in(manager, method, defect)
    outcomes = manager.anchor(ONE)
    error = outcomes["alpha"].error
    assert isinstance(error, BackendError)
    assert error.__cause__ is defect
    assert str(error) == f"alpha: defect in the driver 'memory': it raised {type(defect).__name__}"
    assert outcomes["beta"].error is None
    assert manager.flush() == []
    assert count(manager) == 1
    assert "sentinel-4711" not in caplog.text


def _raise_in(manager: BlockchainManager, method: str, defect: BaseException) -> None:
    """Let the next call of a method raise what `script` does not take."""
    driver = manager.driver("alpha")

    def once(*args):
        delattr(driver, method)
        raise defect

    setattr(driver, method, once)


def test_defects_while_asking_are_no_verdict(make):
    manager = make(alpha={})
    transactions = manager.store_merkle_hash(ONE)
    for method, ask in (
        ("lookup", lambda: manager.verify_merkle_hash(ONE, transactions)),
        ("verify", lambda: manager.verify_merkle_hash(ONE, transactions)),
        ("lookup", lambda: manager.get_transaction_info(transactions)),
        ("status", manager.status),
    ):
        driver_of(manager).script(method, RuntimeError("boom"))
        answer = ask()["alpha"]
        assert type(answer) is BackendError, method


def test_a_driver_that_cannot_be_built_or_closed(make, tmp_path, caplog):
    registry = memory_registry()
    registry.create = lambda driver, context: 1 / 0
    with make_manager(tmp_path, {"alpha": {}}, registry=registry) as manager:
        error = manager.anchor(ONE)["alpha"].error
        assert "it raised ZeroDivisionError" in str(error)
        assert row_of(manager).state is JournalState.QUEUED
    manager = make(alpha={}, beta={})
    manager.store_merkle_hash(ONE)
    closed = driver_of(manager, "beta").released
    driver_of(manager).close = lambda: 1 / 0
    manager.close()
    assert closed.is_set()
    assert "defect in the driver 'memory'" in caplog.text


def test_a_defect_of_the_callers_own_task_is_raised_to_the_caller(make):
    manager = make()

    def task(network):
        return {"alpha": 1, "gamma": 2}[network]

    with pytest.raises(KeyError, match="beta"):
        manager.parallel(["alpha", "beta", "gamma"], task)


# Order.


def test_what_can_never_be_prepared_holds_up_nothing(make):
    manager = make(alpha={})
    outcome = manager.anchor(ONE, {"text": "x" * 5000})["alpha"]
    assert isinstance(outcome.error, FormatError)
    assert manager.anchor(TWO)["alpha"].error is None
    assert [row.commitment for row in manager.flush()] == [ONE]
    assert row_of(manager).state is JournalState.QUEUED


def test_nothing_is_prepared_behind_bytes_whose_fate_is_unknown(make):
    manager = make(alpha={"retry_attempts": 1})
    driver_of(manager).script("submit", Fault.UNAVAILABLE, Fault.UNAVAILABLE)
    manager.anchor(ONE)
    outcome = manager.anchor(TWO)["alpha"]
    assert str(outcome.error) == "alpha is unavailable, as scripted"
    assert [row.state for row in manager.journal.rows()] == [JournalState.PREPARED, JournalState.QUEUED]
    assert manager.flush() == []
    blocks = [chain_of(manager.base_dir, "alpha").find(row.reference).block.number for row in manager.journal.rows()]
    assert blocks == [0, 1]


def test_a_sent_anchor_that_cannot_be_asked_about_holds_up_nothing(make):
    manager = make(alpha={**LATER, "retry_attempts": 1})
    manager.anchor(ONE)
    driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
    outcome = manager.anchor(TWO)["alpha"]
    assert (outcome.error, outcome.receipt.state) == (None, ReceiptState.PENDING)
    assert row_of(manager, ONE).error == "alpha is unavailable, as scripted"


def test_an_anchor_that_is_final_has_no_error_whatever_else_fails(make):
    manager = make(alpha={"retry_attempts": 1})
    manager.anchor(ONE)
    driver_of(manager).script("prepare", Fault.UNAVAILABLE, Fault.UNAVAILABLE)
    manager.anchor(TWO)
    outcome = manager.anchor(ONE)["alpha"]
    assert (outcome.error, outcome.receipt.state) == (None, ReceiptState.FINAL)
    manager.driver("alpha")
    with Journal(manager.base_dir).exclusive("alpha", 1):
        outcome = make(manager.base_dir, alpha={"timeout": 0.5}).anchor(ONE)["alpha"]
    assert (outcome.error, outcome.receipt.state) == (None, ReceiptState.FINAL)
    assert row_of(manager, TWO).state is JournalState.QUEUED


# Waiting for blocks, and reorgs.


def test_a_receipt_moves_on_with_the_chain(make):
    manager = make(alpha={**LATER})
    chain = chain_of(manager.base_dir, "alpha")
    reference = manager.store_merkle_hash(ONE)["alpha"]
    states = []
    for _ in range(4):
        states.append(row_of(manager).state)
        chain.mine()
        manager.flush()
    assert states == [JournalState.SUBMITTED, JournalState.INCLUDED, JournalState.INCLUDED, JournalState.FINAL]
    assert row_of(manager).reference == reference


def test_nothing_is_written_where_nothing_is_new(make, monkeypatch):
    manager = make(alpha={**LATER})
    manager.anchor(ONE)
    monkeypatch.setattr(Journal, "_update", lambda *args, **values: pytest.fail("something was written"))
    assert [row.state for row in manager.flush()] == [JournalState.SUBMITTED]


def test_a_reorg_into_the_mempool_moves_the_row_back(make):
    manager = make(alpha={**LATER})
    chain = chain_of(manager.base_dir, "alpha")
    manager.anchor(ONE)
    chain.mine()
    manager.flush()
    chain.reorg(1)
    assert [(row.state, row.receipt.evidence) for row in manager.flush()] == [(JournalState.SUBMITTED, {})]
    chain.mine(3)
    assert manager.flush() == []
    assert count(manager) == 1


def test_after_a_reorg_that_drops_it_the_same_bytes_go_out_again(make, caplog):
    manager = make(alpha={**LATER})
    chain = chain_of(manager.base_dir, "alpha")
    reference = manager.store_merkle_hash(ONE)["alpha"]
    chain.mine()
    manager.flush()
    payload = row_of(manager).prepared.payload_hex
    chain.reorg(1, keep=False)
    assert count(manager) == 0
    assert [row.state for row in manager.flush()] == [JournalState.SUBMITTED]
    assert "no longer has" in caplog.text
    assert (row_of(manager).reference, row_of(manager).prepared.payload_hex) == (reference, payload)
    chain.mine(3)
    assert manager.flush() == []
    assert (chain.find(reference).payload.hex(), count(manager)) == (payload, 1)


def test_dropped_bytes_that_cannot_go_out_now_are_not_shown_as_anchored_and_come_first(make):
    manager = make(alpha={**LATER, "retry_attempts": 1})
    chain = chain_of(manager.base_dir, "alpha")
    manager.anchor(ONE)
    chain.mine()
    chain.reorg(1, keep=False)
    driver_of(manager).script("submit", Fault.UNAVAILABLE)
    outcomes = manager.anchor(TWO)
    assert outcomes["alpha"].receipt is None
    assert [(row.state, row.receipt) for row in manager.journal.rows()] == [
        (JournalState.PREPARED, None),
        (JournalState.QUEUED, None),
    ]
    manager.flush()
    chain.mine()
    places = [chain.find(row.reference).position for row in manager.journal.rows()]
    assert places == [0, 1]


def test_dropped_bytes_that_are_refused_are_not_shown_as_anchored(make):
    manager = make(alpha={**LATER})
    chain = chain_of(manager.base_dir, "alpha")
    manager.anchor(ONE)
    chain.mine()
    chain.reorg(1, keep=False)
    driver_of(manager).script("submit", Fault.REJECTED)
    assert manager.store_merkle_hash(ONE) == {}
    assert (row_of(manager).state, row_of(manager).receipt) == (JournalState.REJECTED, None)
    assert list(manager.store_merkle_hash(ONE)) == ["alpha"]
    assert count(manager) == 1


# Flushing and the background.


def test_rows_of_networks_that_are_gone_stay(make, tmp_path):
    manager = make(alpha={"retry_attempts": 1}, beta={"retry_attempts": 1})
    for name in ("alpha", "beta"):
        driver_of(manager, name).script("prepare", Fault.UNAVAILABLE)
    manager.anchor(ONE)
    left = make(tmp_path, beta={}).flush()
    assert [(row.network, row.state) for row in left] == [("alpha", JournalState.QUEUED)]
    assert make(tmp_path, alpha={}).flush() == []


def test_only_named_networks_are_flushed_and_misspelt_ones_refused(make):
    manager = make(alpha={"retry_attempts": 1}, beta={"retry_attempts": 1})
    for name in ("alpha", "beta"):
        driver_of(manager, name).script("prepare", Fault.UNAVAILABLE)
    manager.anchor(ONE)
    assert [row.network for row in manager.flush(["beta"])] == ["alpha"]
    with pytest.raises(ConfigurationError, match="'alpa'"):
        manager.flush(["alpa"])


def test_with_nothing_open_no_driver_is_built_and_nothing_created(tmp_path):
    registry = memory_registry()
    registry.create = lambda driver, context: pytest.fail("a driver was built")
    with make_manager(tmp_path / "artifacts", {"alpha": {}}, registry=registry) as manager:
        assert manager.flush() == []
    assert not (tmp_path / "artifacts").exists()


def test_the_background_sends_without_waiting_and_close_waits_for_it(make):
    manager = make(real_time=True, alpha={"timeout": 20}, beta={})
    driver = driver_of(manager)
    driver.script("prepare", Fault.HANG)
    for commitment in (ONE, TWO, THREE):
        manager.anchor_in_background(commitment)
    assert sum(thread.name == "mrv-background" for thread in threading.enumerate()) == 1
    assert count(manager) == 0
    driver.released.set()
    manager.close()
    assert manager.journal.rows(only_open=True) == []
    for commitment in (ONE, TWO, THREE):
        assert [count(manager, commitment, name) for name in ("alpha", "beta")] == [1, 1]
    manager.wait_for_background()
    manager.anchor_in_background(commitment_of("four"), networks=["beta"])
    manager.wait_for_background()
    assert count(manager, commitment_of("four"), "beta") == 1


def test_what_fails_in_the_background_is_logged_and_stays_queued(make, caplog, monkeypatch):
    manager = make(alpha={"retry_attempts": 1})
    driver_of(manager).script("prepare", Fault.UNAVAILABLE)
    manager.anchor_in_background(ONE)
    manager.wait_for_background()
    assert "alpha is unavailable" in caplog.text

    def fail(names):
        raise StorageError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(manager, "flush", fail)
        manager.anchor_in_background(TWO)
        manager.wait_for_background()
    assert "anchoring in the background: the disk is gone" in caplog.text
    assert [row.state for row in manager.journal.rows()] == [JournalState.QUEUED] * 2
    assert manager.flush() == []


def test_without_another_thread_everything_stays_queued(make, monkeypatch, caplog):
    manager = make(alpha={})

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        error = manager.anchor(ONE)["alpha"].error
        manager.anchor_in_background(TWO)
        manager.wait_for_background()
    assert isinstance(error, BackendUnavailableError)
    assert str(error) == "alpha: can't start new thread"
    assert "anchoring in the background: can't start new thread" in caplog.text
    assert [row.commitment for row in manager.journal.rows(only_open=True)] == [ONE, TWO]
    assert manager.flush() == []


# Asking.


def test_wrong_missing_and_unreachable_are_three_answers(make):
    manager = make()
    transactions = manager.store_merkle_hash(ONE)
    driver_of(manager, "gamma").script("lookup", *[Fault.UNAVAILABLE] * 3)
    answers = manager.verify_merkle_hash(TWO, {**transactions, "beta": "f" * 64})
    assert [type(answer) for answer in answers.values()] == [
        VerificationError,
        AnchorNotFoundError,
        BackendUnavailableError,
    ]
    driver_of(manager, "gamma").script("lookup", *[Fault.UNAVAILABLE] * 3)
    found = manager.get_transaction_info({**transactions, "beta": "f" * 64})
    assert found["alpha"].commitment == ONE
    assert [type(found[name]) for name in ("beta", "gamma")] == [AnchorNotFoundError, BackendUnavailableError]
    for ask in (lambda ids: manager.verify_merkle_hash(ONE, ids), manager.get_transaction_info):
        with pytest.raises(ConfigurationError, match="'delta'"):
            ask({"delta": "0"})


def test_asking_where_nothing_was_anchored_creates_nothing(make):
    manager = make(alpha={})
    answer = manager.verify_merkle_hash(ONE, {"alpha": "f" * 64})["alpha"]
    assert isinstance(answer, BackendError)
    assert list(manager.base_dir.iterdir()) == []


def test_a_verdict_about_something_else_is_refused(make):
    manager = make(alpha={})
    transactions = manager.store_merkle_hash(ONE)
    driver_of(manager).script("verify", Fault.LIE)
    answer = manager.verify_merkle_hash(ONE, transactions)["alpha"]
    assert isinstance(answer, VerificationError)
    assert "checked something else" in str(answer)


def test_a_malformed_receipt_is_a_wrong_receipt(make):
    manager = make(alpha={})
    manager.store_merkle_hash(ONE)
    driver_of(manager).script("verify", FormatError("no such field"))
    with pytest.raises(VerificationError, match="alpha: malformed receipt: no such field"):
        manager.verify_receipt("alpha", row_of(manager).receipt, ONE)


def test_each_receipt_of_a_task_is_verified_within_its_own_timeout(make, time):
    manager = make(alpha={"timeout": 10})
    commitments = (ONE, TWO, THREE)
    receipts = {commitment: manager.anchor(commitment)["alpha"].receipt for commitment in commitments}
    verify = driver_of(manager).verify
    driver_of(manager).verify = lambda *args: (time.sleep(8), verify(*args))[1]

    def verify_all(network):
        return [manager.verify_receipt(network, receipts[commitment], commitment) for commitment in commitments]

    answers = manager.parallel(["alpha"], verify_all)["alpha"]
    assert [answer.commitment for answer in answers] == list(commitments)


# Together.


def test_threads_share_a_manager(make):
    manager = make(real_time=True, alpha={"timeout": 60}, beta={"timeout": 60})
    names = [f"thread {number}" for number in range(8)]
    results: dict[str, dict[str, str]] = {}
    threads = [
        threading.Thread(
            target=lambda name=name: results.update({name: manager.store_merkle_hash(commitment_of(name))})
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == names
    assert {tuple(result) for result in results.values()} == {("alpha", "beta")}
    assert [count(manager, commitment_of(name), network) for name in names for network in ("alpha", "beta")] == [1] * 16


def test_a_network_that_another_process_uses_is_told(make, tmp_path, caplog):
    manager = make(real_time=True, alpha={"timeout": 0.5}, beta={})
    with Journal(tmp_path).exclusive("alpha", 1):
        outcomes = manager.anchor(ONE)
        assert "alpha: another process has been anchoring" in caplog.text
        caplog.clear()
        assert [row.network for row in manager.flush()] == ["alpha"]
        assert "alpha: another process has been anchoring" in caplog.text
    assert "alpha: another process has been anchoring" in str(outcomes["alpha"].error)
    assert outcomes["beta"].error is None
    assert manager.flush() == []


# A journal that fails.


def test_nothing_is_sent_that_could_not_be_written_down(make, tmp_path):
    (tmp_path / "journal.sqlite3").mkdir()
    manager = make()
    with pytest.raises(StorageError):
        manager.store_merkle_hash(ONE)
    with pytest.raises(StorageError):
        manager.anchor_in_background(ONE)
    assert not (tmp_path / "networks").exists()


@pytest.mark.parametrize("step", ["record_prepared", "record_receipt", "record_error"])
def test_a_journal_that_fails_in_between_loses_and_repeats_nothing(make, monkeypatch, step):
    manager = make(alpha={}, beta={})
    if step == "record_error":
        driver_of(manager).script("submit", *[Fault.UNAVAILABLE] * 3)
    real = getattr(Journal, step)

    def fail(journal, row, *args):
        if row.network == "alpha":
            raise StorageError("disk I/O error")
        return real(journal, row, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, step, fail)
        outcomes = manager.anchor(ONE)
    assert isinstance(outcomes["alpha"].error, StorageError)
    assert outcomes["alpha"].receipt is None
    assert outcomes["beta"].error is None
    assert manager.flush() == []
    assert row_of(manager).state is JournalState.FINAL
    assert count(manager) == 1


@pytest.mark.parametrize("fault", [None, Fault.HANG])
def test_a_journal_that_cannot_be_read_at_the_end_is_told_for_its_network(make, monkeypatch, fault):
    manager = make(real_time=True, alpha={"timeout": 0.5}, beta={})
    real = Journal.find
    if fault is not None:
        driver_of(manager).script("submit", fault)

    def fail(journal, commitment, network):
        if network == "alpha" and threading.current_thread() is threading.main_thread() and manager.journal.rows():
            raise StorageError("disk I/O error")
        return real(journal, commitment, network)

    manager.journal.enqueue(ONE, "alpha", {})
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "enqueue", lambda journal, commitment, network, metadata: None)
        patch.setattr(Journal, "find", fail)
        outcome = manager.anchor(ONE)["alpha"]
    assert outcome.receipt is None
    assert isinstance(outcome.error, StorageError if fault is None else BackendUnavailableError)
    driver_of(manager).released.set()
    join_workers("alpha")
    assert (manager.flush(), count(manager)) == ([], 1)
