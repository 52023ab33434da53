# SPDX-License-Identifier: MIT
"""One anchor may take several attempts: outbid, overtaken, forgotten by the journal. It is on the network once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anchoring import FakeTime, chain_of, commitment_of, make_manager

from mrv_core.errors import (
    AnchorConflictError,
    BackendUnavailableError,
    ConfigurationError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.journal import JournalRow, JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.models import Prepared, ReceiptState
from mrv_core.testing.blocks import Payload
from mrv_core.testing.memory import Fault, MemoryChain, MemoryDriver

ONE, TWO = commitment_of("one"), commitment_of("two")
MARKET: dict[str, Any] = {
    "instant_mining": False,
    "finality_depth": 3,
    "replaces": True,
    "searches": True,
    "sequential": True,
    "max_fee": 50,
    "retry_attempts": 1,
}


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


Make = Callable[..., BlockchainManager]


@pytest.fixture
def make(tmp_path: Path, time: FakeTime) -> Iterator[Make]:
    """Return a function from settings that differ from `MARKET` to a manager of the network alpha."""
    made: list[BlockchainManager] = []

    def make(**settings: Any) -> BlockchainManager:
        networks = {"alpha": {**MARKET, **settings}}
        made.append(make_manager(tmp_path, networks, sleep=time.sleep, clock=time.clock))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def chain(tmp_path: Path) -> MemoryChain:
    return chain_of(tmp_path, "alpha")


def driver_of(manager: BlockchainManager) -> MemoryDriver:
    driver = manager.driver("alpha")
    assert isinstance(driver, MemoryDriver)
    return driver


def row_of(manager: BlockchainManager, commitment: Digest = ONE) -> JournalRow:
    return manager.journal.find(commitment, "alpha")


def fee_of(prepared: Prepared | None) -> int:
    assert prepared is not None
    return Payload.from_bytes(bytes.fromhex(prepared.payload_hex), what="payload").fee


def finish(manager: BlockchainManager, chain: MemoryChain) -> None:
    """Let everything become final, and check that each root is on the network once."""
    chain.set_fees()
    manager.flush()
    for _ in range(2):  # the second time for what was anchored anew after a conflict
        chain.mine(3)
        manager.flush()
    rows = manager.journal.rows()
    assert [row.state for row in rows] == [JournalState.FINAL] * len(rows)
    assert [chain.count(row.commitment) for row in rows] == [1] * len(rows)


# Outbidding.


def test_what_is_stuck_is_outbid_and_kept(make, chain):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=10)
    chain.mine()
    assert [row.state for row in manager.flush()] == [JournalState.SUBMITTED]
    row = row_of(manager)
    assert (fee_of(first), fee_of(row.prepared)) == (1, 10)
    assert [(attempt.prepared, attempt.ended) for attempt in row.earlier] == [(first, f"outbid by {row.reference}")]
    assert row.attempts == (row.prepared, first)
    assert row.receipt.reference == row.reference == row.prepared.reference
    assert manager.flush()[0].earlier == row.earlier, "what pays enough is not outbid again"
    finish(manager, chain)


def test_the_outbid_one_is_included_after_all(make, chain):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=10)
    chain.mine()
    manager.flush()
    chain.evict()
    chain.take(bytes.fromhex(first.payload_hex))
    chain.set_fees()
    chain.mine()
    driver, sent = driver_of(manager), []
    submit = driver.submit
    driver.submit = lambda prepared: (sent.append(prepared), submit(prepared))[1]
    manager.flush()
    assert (row_of(manager).reference, row_of(manager).state) == (first.reference, JournalState.INCLUDED)
    assert sent == [], "nothing is sent where one of them is there"
    finish(manager, chain)
    assert row_of(manager).reference == first.reference


def test_the_outbid_one_is_included_while_the_replacement_cannot_be_sent(make, chain):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=10)
    chain.mine()
    driver_of(manager).script("submit", Fault.UNAVAILABLE)
    chain_before = chain.height()
    replace = driver_of(manager).replace

    def replace_too_late(prepared, receipt):
        replacement = replace(prepared, receipt)
        chain.set_fees()
        chain.mine()
        return replacement

    driver_of(manager).replace = replace_too_late
    assert manager.flush()[0].error is None
    assert chain.height() == chain_before + 1
    assert (row_of(manager).reference, row_of(manager).state) == (first.reference, JournalState.INCLUDED)
    finish(manager, chain)


def raise_fees_after_preparing(manager: BlockchainManager, chain: MemoryChain, relaying: int) -> None:
    driver = driver_of(manager)
    prepare = driver.prepare

    def prepare_then_raise(commitment, metadata):
        driver.prepare = prepare
        prepared = prepare(commitment, metadata)
        chain.set_fees(relaying=relaying)
        return prepared

    driver.prepare = prepare_then_raise


def test_what_is_refused_for_its_fee_is_outbid_at_once(make, chain):
    manager = make()
    raise_fees_after_preparing(manager, chain, relaying=10)
    outcome = manager.anchor(ONE)["alpha"]
    assert (outcome.error, outcome.receipt.state) == (None, ReceiptState.PENDING)
    row = row_of(manager)
    assert [fee_of(attempt) for attempt in row.attempts] == [10, 1]
    assert row.error is None
    finish(manager, chain)


def test_beyond_the_cap_it_waits_and_holds_up_what_is_behind(make, chain):
    manager = make()
    raise_fees_after_preparing(manager, chain, relaying=51)
    error = manager.anchor(ONE)["alpha"].error
    assert isinstance(error, SubmissionRejectedError)
    assert error.retryable
    row = row_of(manager)
    assert [fee_of(attempt) for attempt in row.attempts] == [50, 1]
    assert row.state is JournalState.PREPARED
    assert row.error == str(error)
    assert str(manager.anchor(TWO)["alpha"].error) == str(error)
    assert row_of(manager, TWO).state is JournalState.QUEUED
    chain.set_fees()
    manager.flush()
    slots = [Payload.from_bytes(chain.search(root, "us").payload, what="payload").slot for root in (ONE, TWO)]
    assert slots == ["0", "1"]
    finish(manager, chain)


def test_a_replacement_that_is_refused_too_holds_up_what_is_behind(make, chain):
    """Its nonce is taken by bytes that are not sent: the next anchor must not be prepared with the same."""
    manager = make()
    raise_fees_after_preparing(manager, chain, relaying=40)
    driver = driver_of(manager)
    driver.replace = lambda prepared, receipt: driver._build(
        Payload.from_bytes(bytes.fromhex(prepared.payload_hex), what="payload").model_copy(
            update={"fee": fee_of(prepared) + 1}
        )
    )
    manager.journal.enqueue(TWO, "alpha", {})
    manager.journal.enqueue(ONE, "alpha", {})
    outcome = manager.anchor(TWO)["alpha"]
    assert isinstance(outcome.error, SubmissionRejectedError)
    assert [(row.state, len(row.attempts)) for row in manager.journal.rows()] == [
        (JournalState.PREPARED, 3),
        (JournalState.QUEUED, 0),
    ]
    finish(manager, chain)


def test_what_is_refused_while_an_older_attempt_waits_is_outbid_or_left_to_it(make, chain):
    manager = make(max_fee=20)
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=5)
    chain.mine()
    refused = SubmissionRejectedError("alpha: replacement underpriced", retryable=True)
    driver_of(manager).script("submit", refused)
    manager.flush()
    assert (row_of(manager).state, row_of(manager).reference) == (JournalState.SUBMITTED, first.reference)
    assert len(row_of(manager).attempts) == 2, "the fees ask for no more than what was refused"
    chain.set_fees(mining=20)
    driver_of(manager).script("submit", refused)
    manager.flush()
    row = row_of(manager)
    assert [fee_of(attempt) for attempt in row.attempts] == [20, 5, 1]
    finish(manager, chain)


def refuse_and_raise_fees(manager: BlockchainManager, chain: MemoryChain, mining: int) -> None:
    """Let the next submission be refused for its fee, because fees have risen once more meanwhile."""
    driver = driver_of(manager)
    submit = driver.submit

    def refuse(prepared):
        driver.submit = submit
        chain.set_fees(mining=mining)
        raise SubmissionRejectedError("alpha: replacement underpriced", retryable=True)

    driver.submit = refuse


def test_a_refused_replacement_is_outbid_although_the_older_attempt_waits(make, chain):
    manager = make()
    manager.anchor(ONE)
    chain.set_fees(mining=5)
    chain.mine()
    refuse_and_raise_fees(manager, chain, mining=15)
    manager.flush()
    row = row_of(manager)
    assert [fee_of(attempt) for attempt in row.attempts] == [15, 5, 1]
    assert (row.state, row.reference) == (JournalState.SUBMITTED, row.prepared.reference)
    finish(manager, chain)


def test_a_refused_replacement_is_not_outbid_where_the_older_attempt_is_included(make, chain):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=5)
    chain.mine()
    refuse_and_raise_fees(manager, chain, mining=15)
    replace = driver_of(manager).replace

    def replace_too_late(prepared, receipt):
        replacement = replace(prepared, receipt)
        chain.set_fees()
        chain.mine()
        return replacement

    driver_of(manager).replace = replace_too_late
    manager.flush()
    row = row_of(manager)
    assert (row.state, row.reference) == (JournalState.INCLUDED, first.reference)
    assert [fee_of(attempt) for attempt in row.attempts] == [5, 1]
    finish(manager, chain)


def test_a_failing_replacement_costs_the_receipt_nothing_and_holds_up_nothing(make, chain):
    manager = make()
    manager.anchor(ONE)
    chain.set_fees(mining=10)
    chain.mine()
    driver_of(manager).script("replace", Fault.UNAVAILABLE)
    outcome = manager.anchor(TWO)["alpha"]
    assert (outcome.error, outcome.receipt.state) == (None, ReceiptState.PENDING)
    row = row_of(manager)
    assert (row.state, row.error, row.earlier) == (
        JournalState.SUBMITTED,
        "alpha is unavailable, as scripted",
        (),
    )
    manager.flush()
    assert (row_of(manager).error, len(row_of(manager).earlier)) == (None, 1)
    finish(manager, chain)


def test_without_the_capability_nothing_is_outbid(make, chain):
    manager = make(replaces=False)
    manager.anchor(ONE)
    chain.set_fees(mining=10)
    chain.mine()
    assert [(row.state, row.earlier) for row in manager.flush()] == [(JournalState.SUBMITTED, ())]
    finish(manager, chain)


# Conflicts.


def overtake(manager: BlockchainManager, chain: MemoryChain) -> None:
    chain.spend(bytes.fromhex(row_of(manager).prepared.payload_hex))


def test_after_a_conflict_the_anchor_is_made_anew_once_it_is_buried(make, chain, caplog):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    overtake(manager, chain)
    manager.flush()
    row = row_of(manager)
    assert (row.state, row.prepared, row.earlier) == (JournalState.PREPARED, first, ())
    assert "does not replace" in row.error
    chain.mine(2)
    assert [left.state for left in manager.flush()] == [JournalState.SUBMITTED]
    row = row_of(manager)
    assert row.prepared.reference != first.reference
    assert [attempt.prepared for attempt in row.earlier] == [first]
    assert "something else took the place" in row.earlier[0].ended
    assert "has to be anchored anew" in caplog.text
    finish(manager, chain)


def test_a_conflict_that_a_reorg_undoes_is_none(make, chain):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    overtake(manager, chain)
    manager.flush()
    chain.reorg(1, keep=False)
    finish(manager, chain)
    assert (row_of(manager).reference, row_of(manager).earlier) == (first.reference, ())


def test_a_conflict_with_our_own_older_attempt_is_that_anchor(make, chain):
    manager = make(searches=False)
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=10)
    chain.mine()
    manager.flush()
    second = row_of(manager).prepared
    chain.evict()
    chain.take(bytes.fromhex(first.payload_hex))
    chain.set_fees()
    chain.mine(3)
    driver_of(manager).script("upgrade", AnchorConflictError("alpha: its nonce was used"))
    assert manager.flush() == []
    row = row_of(manager)
    assert (row.reference, row.attempts, row.error) == (first.reference, (second, first), None)
    assert [attempt.ended for attempt in row.earlier] == [f"outbid by {second.reference}"], "it was not made anew"
    finish(manager, chain)


def test_two_conflicts_in_a_row_leave_it_queued_with_the_reason(make, chain):
    manager = make()
    manager.anchor(TWO)
    outdone = [AnchorConflictError(f"alpha: outdone {number}") for number in range(2)]
    driver_of(manager).script("submit", *outdone)
    outcome = manager.anchor(ONE)["alpha"]
    assert (outcome.error, outcome.receipt) == (outdone[1], None)
    row = row_of(manager)
    assert (row.state, row.error, row.prepared) == (JournalState.QUEUED, "alpha: outdone 1", None)
    assert [attempt.ended for attempt in row.earlier] == ["alpha: outdone 0", "alpha: outdone 1"]
    finish(manager, chain)


def test_what_was_refused_and_is_there_after_all_is_not_anchored_again(make, chain):
    manager = make(searches=False)
    manager.anchor(TWO)
    driver_of(manager).script("submit", Fault.REJECTED)
    manager.anchor(ONE)
    refused = row_of(manager).prepared
    assert row_of(manager).state is JournalState.REJECTED
    chain.take(bytes.fromhex(refused.payload_hex))
    driver_of(manager).script("prepare", AssertionError("prepared again"))
    outcome = manager.anchor(ONE)["alpha"]
    assert (outcome.error, outcome.receipt.reference) == (None, refused.reference)
    assert [attempt.ended for attempt in row_of(manager).earlier] == ["alpha refused the call, as scripted"]
    finish(manager, chain)


# A journal that does not know what was sent.


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_lost_journal_anchors_nothing_twice(make, chain, blocks):
    manager = make()
    reference = manager.store_merkle_hash(ONE)["alpha"]
    chain.mine(blocks)
    manager.journal.path.unlink()
    driver_of(manager).script("prepare", AssertionError("prepared again"))
    assert make().store_merkle_hash(ONE) == {"alpha": reference}
    assert row_of(manager).prepared is None
    assert row_of(manager).attempts == ()
    finish(manager, chain)


def test_nothing_is_prepared_where_it_cannot_be_searched(make, chain):
    manager = make()
    driver_of(manager).script("find", Fault.UNAVAILABLE, Fault.UNAVAILABLE)
    assert isinstance(manager.anchor(ONE)["alpha"].error, BackendUnavailableError)
    assert (row_of(manager).state, row_of(manager).prepared) == (JournalState.QUEUED, None)
    manager.anchor(TWO)
    assert row_of(manager, TWO).error is None, "it waits behind the first"
    finish(manager, chain)


def test_what_was_found_and_is_dropped_is_anchored_anew(make, chain):
    manager = make()
    manager.anchor(ONE)
    chain.mine()
    manager.journal.path.unlink()
    manager.anchor(ONE)
    assert row_of(manager).prepared is None
    chain.reorg(1, keep=False)
    assert [row.state for row in manager.flush()] == [JournalState.SUBMITTED]
    assert row_of(manager).prepared is not None
    finish(manager, chain)


def _nothing(manager: BlockchainManager, chain: MemoryChain) -> None:
    manager.anchor(TWO)


def _queued(manager: BlockchainManager, chain: MemoryChain) -> None:
    manager.journal.enqueue(ONE, "alpha", {})


def _prepared(manager: BlockchainManager, chain: MemoryChain) -> None:
    driver_of(manager).script("submit", Fault.UNAVAILABLE)
    manager.anchor(ONE)


def _submitted(manager: BlockchainManager, chain: MemoryChain) -> None:
    manager.anchor(ONE)


@pytest.mark.parametrize("old", [_nothing, _queued, _prepared, _submitted])
@pytest.mark.parametrize("since", ["outbid", "overtaken", "included", "final"])
def test_an_old_journal_put_back_anchors_nothing_twice(make, chain, tmp_path, old, since):
    """The copy is as old as `old` says; since then the anchor went on, in the ways that change its reference too."""
    manager = make()
    old(manager, chain)
    shutil.copy(manager.journal.path, tmp_path / "copy")
    manager.anchor(ONE)
    if since == "outbid":
        chain.set_fees(mining=10)
        chain.mine()
        manager.flush()
        assert len(row_of(manager).attempts) == 2
    elif since == "overtaken":
        overtake(manager, chain)
        chain.mine(2)
        manager.flush()
        assert len(row_of(manager).attempts) == 2
    chain.set_fees()
    chain.mine(3 if since == "final" else 1)
    reference = row_of(manager).reference
    shutil.copy(tmp_path / "copy", manager.journal.path)
    again = make()
    again.anchor(ONE)
    finish(again, chain)
    assert row_of(again).reference == reference


# Answers that cannot be.


def test_an_answer_for_another_reference_is_never_recorded(make, chain):
    manager = make()
    other = manager.anchor(TWO)["alpha"].receipt
    driver = driver_of(manager)
    for method in ("submit", "upgrade"):
        honest = getattr(driver, method)
        setattr(driver, method, lambda asked, honest=honest: honest(asked).model_copy(update={"reference": "other"}))
        error = manager.anchor(ONE)["alpha"].error
        assert isinstance(error, VerificationError)
        assert "answered for 'other'" in row_of(manager).error
        setattr(driver, method, honest)
        manager.flush()
    driver.script("upgrade", Fault.LIE)
    manager.flush()
    assert row_of(manager, TWO).receipt == other
    finish(manager, chain)


def test_a_lookup_that_answers_for_another_reference_is_refused(make, chain):
    manager = make(searches=False)
    manager.anchor(TWO)
    driver = driver_of(manager)
    driver.script("submit", Fault.REJECTED)
    manager.anchor(ONE)
    chain.take(bytes.fromhex(row_of(manager).prepared.payload_hex))
    lookup = driver.lookup
    driver.lookup = lambda reference: lookup(reference).model_copy(update={"reference": "other"})
    assert isinstance(manager.anchor(ONE)["alpha"].error, VerificationError)
    assert (row_of(manager).state, row_of(manager).receipt) == (JournalState.QUEUED, None)
    driver.lookup = lookup
    finish(manager, chain)


def test_the_next_answer_clears_an_error_although_nothing_has_changed(make, chain):
    manager = make()
    receipt = manager.anchor(ONE)["alpha"].receipt
    driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
    assert [row.error for row in manager.flush()] == ["alpha is unavailable, as scripted"]
    assert [(row.error, row.receipt) for row in manager.flush()] == [(None, receipt)]


@pytest.mark.parametrize("fault", [Fault.LIE, "the same again"])
def test_a_replacement_that_is_none_is_refused(make, chain, fault):
    manager = make()
    manager.anchor(ONE)
    first = row_of(manager).prepared
    chain.set_fees(mining=10)
    chain.mine()
    if fault is Fault.LIE:
        driver_of(manager).script("replace", fault)
    else:
        driver_of(manager).replace = lambda prepared, receipt: prepared
    manager.flush()
    row = row_of(manager)
    assert ("the driver replaced" in row.error, row.prepared, row.earlier) == (True, first, ())
    assert row.state is JournalState.SUBMITTED


# Waiting.


def test_settling_waits_with_growing_delays_until_all_is_final(make, chain, time):
    manager = make()
    manager.anchor(ONE)
    manager.anchor(TWO)
    seen: list[list[str]] = []

    def progress(rows: list[JournalRow]) -> None:
        seen.append([str(row.state) for row in rows])
        if len(seen) > 1:
            chain.mine()

    assert manager.settle(timeout_s=600, progress=progress) == []
    assert seen == [["submitted"] * 2, ["submitted"] * 2, ["included"] * 2, ["included"] * 2, []]
    assert time.sleeps == [0.25, 0.375, 0.5625, 0.84375]


def test_settling_ends_in_time_and_looks_no_more_often_than_every_quarter_minute(make, time):
    manager = make()
    manager.anchor(ONE)
    looks: list[int] = []
    rows = manager.settle(timeout_s=100, progress=lambda rows: looks.append(len(rows)))
    assert [row.commitment for row in rows] == [ONE]
    assert max(time.sleeps) == 15
    assert 85 <= sum(time.sleeps) <= 100
    assert looks == [1] * (len(time.sleeps) + 1)


def test_settling_for_no_time_looks_once(make, time):
    manager = make()
    manager.anchor(ONE)
    assert [row.state for row in manager.settle(timeout_s=0)] == [JournalState.SUBMITTED]
    assert time.sleeps == []


def test_settling_does_not_wait_for_what_no_network_has(make, time):
    manager = make()
    driver_of(manager).script("find", *[Fault.UNAVAILABLE] * 2)
    manager.anchor(ONE)
    assert [row.state for row in manager.settle(timeout_s=600)] == [JournalState.QUEUED]
    assert time.sleeps == []
    assert [row.state for row in make().settle(timeout_s=0)] == [JournalState.SUBMITTED]


def test_settling_waits_for_the_named_networks_only(tmp_path, time):
    networks = {"alpha": MARKET, "beta": {"instant_mining": False}}
    with make_manager(tmp_path, networks, sleep=time.sleep, clock=time.clock) as manager:
        manager.anchor(ONE)
        chain_of(tmp_path, "beta").mine()
        assert manager.settle(["beta"], timeout_s=600) == []
        assert time.sleeps == []
        with pytest.raises(ConfigurationError, match="'betta'"):
            manager.settle(["betta"], timeout_s=600)
    with make_manager(tmp_path, {"beta": {}}, sleep=time.sleep, clock=time.clock) as manager:
        assert [row.network for row in manager.settle(timeout_s=600)] == ["alpha"]
        assert time.sleeps == [], "nobody can be asked about a network that is not configured"
