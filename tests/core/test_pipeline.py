# SPDX-License-Identifier: MIT
"""Many anchors in a few calls: what holds for one holds for each of them, wherever a process dies or a call fails."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anchoring import ForkServer, chain_of, commitment_of, fork_server, make_manager

from mrv_core.errors import BackendUnavailableError
from mrv_core.failpoint import GROUP_FAILPOINTS
from mrv_core.journal import Journal, JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.pipeline import GROUP_SIZE
from mrv_core.testing.memory import Fault, MemoryDriver

PIPELINED: dict[str, Any] = {"pipelines": True, "searches": True, "retry_attempts": 1}
NAMES = [f"member {number}" for number in range(GROUP_SIZE + 5)]
COMMITMENTS = [commitment_of(name) for name in NAMES]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[BlockchainManager]:
    with make_manager(tmp_path, {"alpha": PIPELINED, "beta": {"pipelines": False}}, sleep=lambda _: None) as made:
        yield made


def driver_of(manager: BlockchainManager) -> MemoryDriver:
    driver = manager.driver("alpha")
    assert isinstance(driver, MemoryDriver)
    return driver


def counts(base: Path) -> list[int]:
    chain = chain_of(base, "alpha")
    return [chain.count(commitment) for commitment in COMMITMENTS]


def states(base: Path) -> set[JournalState]:
    return {row.state for row in Journal(base).rows(network="alpha")}


def test_each_is_anchored_once_and_its_outcome_is_its_own(manager, tmp_path):
    outcomes = manager.anchor_many(COMMITMENTS, {"run_id": "r"})
    assert list(outcomes) == ["alpha", "beta"]
    for network in outcomes:
        assert [outcome.receipt.commitment for outcome in outcomes[network]] == COMMITMENTS
        assert [outcome.error for outcome in outcomes[network]] == [None] * len(COMMITMENTS)
    assert counts(tmp_path) == [1] * len(COMMITMENTS)
    assert len({outcome.receipt.reference for outcome in outcomes["alpha"]}) == len(COMMITMENTS)
    assert manager.flush() == []


def test_what_is_anchored_already_is_not_anchored_again(manager, tmp_path):
    manager.anchor(COMMITMENTS[3], networks=["alpha"])
    for path in tmp_path.glob("journal*"):
        path.unlink()  # the network knows more than this journal
    outcomes = manager.anchor_many(COMMITMENTS, networks=["alpha"])["alpha"]
    assert all(outcome.receipt is not None for outcome in outcomes)
    assert counts(tmp_path) == [1] * len(COMMITMENTS)
    manager.anchor_many(COMMITMENTS, networks=["alpha"])
    assert counts(tmp_path) == [1] * len(COMMITMENTS)


@pytest.mark.parametrize("method", ["are_new", "prepare_many", "submit_many"])
@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.LOST_REPLY, Fault.REJECTED, Fault.LIE, RuntimeError("x")])
def test_a_group_that_fails_is_sent_one_by_one(manager, tmp_path, method, fault):
    driver_of(manager).script(method, fault)
    outcomes = manager.anchor_many(COMMITMENTS, networks=["alpha"])["alpha"]
    assert [(outcome.error, outcome.receipt.commitment) for outcome in outcomes] == [(None, c) for c in COMMITMENTS]
    assert counts(tmp_path) == [1] * len(COMMITMENTS)


def test_a_network_that_is_down_leaves_all_queued_with_the_reason(manager, tmp_path):
    down = [BackendUnavailableError("alpha is down", retryable=True)]
    for method in ("are_new", "find"):
        driver_of(manager).script(method, *down)
    outcomes = manager.anchor_many(COMMITMENTS, networks=["alpha"])["alpha"]
    assert all(outcome.receipt is None and "alpha is down" in str(outcome.error) for outcome in outcomes)
    assert states(tmp_path) == {JournalState.QUEUED}
    assert manager.flush() == []
    assert counts(tmp_path) == [1] * len(COMMITMENTS)


def test_the_wrong_number_of_answers_is_not_taken_for_any_of_them(manager, tmp_path, monkeypatch):
    driver = driver_of(manager)
    honest = driver.submit_many
    monkeypatch.setattr(driver, "submit_many", lambda prepared: honest(prepared)[1:])
    outcomes = manager.anchor_many(COMMITMENTS, networks=["alpha"])["alpha"]
    assert [outcome.receipt.commitment for outcome in outcomes] == COMMITMENTS
    assert counts(tmp_path) == [1] * len(COMMITMENTS)


def test_receipts_that_are_swapped_are_not_taken(manager, tmp_path, monkeypatch):
    driver = driver_of(manager)
    honest = driver.submit_many
    monkeypatch.setattr(driver, "submit_many", lambda prepared: honest(prepared)[::-1])
    outcomes = manager.anchor_many(COMMITMENTS, networks=["alpha"])["alpha"]
    assert [outcome.receipt.commitment for outcome in outcomes] == COMMITMENTS


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


@pytest.mark.parametrize("second", ["", *GROUP_FAILPOINTS])
@pytest.mark.parametrize("first", GROUP_FAILPOINTS)
def test_killed_anywhere_in_a_group_and_again_in_recovery(server, tmp_path, first, second):
    job = {"base": str(tmp_path), "networks": {"alpha": PIPELINED}, "many": NAMES}
    assert server.run({**job, "failpoint": first}) == [-signal.SIGKILL]
    died = server.run({**job, "failpoint": second})
    assert died in ([-signal.SIGKILL], [0])
    assert server.run(job) == [0]
    assert counts(tmp_path) == [1] * len(COMMITMENTS)
    assert states(tmp_path) == {JournalState.FINAL}


def test_eight_processes_anchor_the_same_and_their_own(server, tmp_path):
    jobs = []
    for number in range(8):
        own = [f"process {number} anchor {i}" for i in range(10)]
        networks = {"alpha": {**PIPELINED, "timeout": 300}}
        jobs.append({"base": str(tmp_path), "networks": networks, "many": [*NAMES[:20], *own]})
    assert server.run(*jobs) == [0] * 8
    assert counts(tmp_path)[:20] == [1] * 20
    assert len(Journal(tmp_path).rows()) == 20 + 80
    assert states(tmp_path) == {JournalState.FINAL}
