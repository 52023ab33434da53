# SPDX-License-Identifier: MIT
"""Several processes, killed, interrupted and forked ones: nothing is lost, and nothing is anchored twice."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Outcome, Programs, configure, programs

from mrv_core.errors import StorageError
from mrv_core.failpoint import FAILPOINTS
from mrv_core.testing.memory import MemoryChain
from mrv_core.tracker import ProvenanceTracker

Start = Callable[..., ProvenanceTracker]

EMBEDDED = ("ethereum", "ipfs", "log")
MEMORY = ("alpha", "beta")

PRELUDE = """
import os, shutil, signal, sys
import numpy as np
from mrv_core.tracker import ProvenanceTracker

def epoch(run, number):
    run.track_epoch(number, {"w": np.full(2, number, "<f4")}, {"loss": 1 / number})

def track(run):
    run.track_data(np.arange(6.0).reshape(3, 2))
    run.track_model({"w": np.zeros(2, "<f4")})

def go_on(run):
    slots = run.tree.state("present").slots
    if "data/training" not in slots:
        run.track_data(np.arange(6.0).reshape(3, 2))
    if "model/weights" not in slots:
        run.track_model({"w": np.zeros(2, "<f4")})
    for number in range(run.tree.epoch_count + 1, 3):
        epoch(run, number)
"""
WHOLE_RUN = """
with ProvenanceTracker(run_id=sys.argv[1] if sys.argv[1:] else "run-1") as run:
    track(run)
    epoch(run, 1)
    epoch(run, 2)
"""
GO_ON = """
if os.path.exists("artifacts/run-1/run.json"):
    run = ProvenanceTracker.open("artifacts/run-1")
else:
    shutil.rmtree("artifacts/run-1", ignore_errors=True)
    run = ProvenanceTracker(run_id="run-1")
with run:
    go_on(run)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Programs]:
    with programs() as server:
        yield server


@pytest.fixture(scope="module")
def evm_server() -> Iterator[Programs]:
    with programs(preload=["mrv_backends_eth.evm"]) as server:
        yield server


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a folder to work in, with two in-memory networks configured."""
    configure(tmp_path, **{name: {"driver": "memory"} for name in MEMORY})
    return tmp_path


@pytest.fixture
def train(server: Programs, work: Path) -> Callable[..., Outcome]:
    """Run a program that trains."""

    def run(source: str, *arguments: object, **options: Any) -> Outcome:
        return server.run(PRELUDE + source, *arguments, cwd=work, **options)

    return run


def verdict(server: Programs, work: Path, run_id: str = "run-1") -> str:
    return str(server.mrv("verify", f"artifacts/{run_id}", "--json", cwd=work).json["verdict"])


def roots(work: Path) -> list[str]:
    """Return every anchored root in the artifacts folder."""
    files = work.glob("artifacts/*/anchors/*.json")
    return [json.loads(path.read_bytes())["root"] for path in files]


def counts(work: Path, root: str) -> set[int]:
    """Return how many anchors of a root the in-memory networks hold."""
    from mrv_core.hashing import Digest

    chains = [MemoryChain(work / "artifacts" / "networks" / name, name) for name in MEMORY]
    return {chain.count(Digest.parse(root)) for chain in chains}


def check_all_anchored_once(server: Programs, work: Path, anchors: int = 2) -> None:
    """Check the one run, and the networks themselves."""
    assert verdict(server, work) == "VALID"
    assert len(roots(work)) == anchors
    assert {root: counts(work, root) for root in roots(work)} == {root: {1} for root in roots(work)}


# --- at the same time --------------------------------------------------------------------------------------------


def test_processes_with_runs_of_their_own_share_one_folder(evm_server: Programs, work: Path) -> None:
    configure(work, **{name: {"driver": "memory"} for name in MEMORY}, **{name: {} for name in EMBEDDED})
    names = [f"run-{number}" for number in range(4)]
    pids = [evm_server.start(PRELUDE + WHOLE_RUN, name, cwd=work) for name in names]
    outcomes = [evm_server.wait(pid) for pid in pids]
    assert [outcome.code for outcome in outcomes] == [0] * 4, outcomes
    assert [verdict(evm_server, work, name) for name in names] == ["VALID"] * 4
    assert len(set(roots(work))) == 8


def test_of_processes_with_one_run_id_exactly_one_gets_it(server: Programs, work: Path) -> None:
    pids = [server.start(PRELUDE + WHOLE_RUN, cwd=work) for _ in range(4)]
    outcomes = [server.wait(pid) for pid in pids]
    assert sorted(outcome.code for outcome in outcomes) == [0, 1, 1, 1]
    for outcome in outcomes:
        assert outcome.code == 0 or "artifacts/run-1 exists already" in outcome.err.splitlines()[-1]
    check_all_anchored_once(server, work)


# --- killed ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_before_each_write_a_run_goes_on_and_is_anchored_once(
    server: Programs, work: Path, train: Callable[..., Outcome]
) -> None:
    """Every file of a run, and the journal, gets its name by `os.replace`; the process dies before the nth one."""
    kill = """
calls, replace = iter(range(int(sys.argv.pop()))), os.replace
def counting(*arguments):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)
os.replace = counting
"""
    for writes in range(100):
        shutil.rmtree(work / "artifacts", ignore_errors=True)
        outcome = train(kill + WHOLE_RUN, writes)
        if outcome.code == 0:
            break
        assert outcome.code == -signal.SIGKILL
        again = train(GO_ON)
        assert again.code == 0, (writes, again.err)
        check_all_anchored_once(server, work)
    assert 10 < writes < 99


AFTER_TRAINING = """
from pathlib import Path
from mrv_core.testing.memory import MemoryChain
run = ProvenanceTracker(run_id="run-1")
track(run)
run.store_merkle_on_blockchain_before_training({"epochs": 1})
epoch(run, 1)
for folder in Path("artifacts/networks").iterdir():
    if folder.name in ("alpha", "beta"):
        MemoryChain(folder, folder.name).mine()
os.environ["MRV_FAILPOINT"] = sys.argv[1]
run.store_merkle_on_blockchain_after_training({"accuracy": 0.9})
"""
UPGRADING = ("anchor.before_receipt", "anchor.receipt")
"""Failpoints of an older anchor that the networks have moved on; embedded ones are final at once."""
ATTEMPTS = ("anchor.before_replacement", "anchor.replacement", "anchor.before_conflict", "anchor.conflict")
"""Failpoints of anchors that are outbid or overtaken, which needs a network with others on it."""


@pytest.mark.parametrize("failpoint", UPGRADING)
def test_killed_at_an_upgrade_flush_finishes_the_run(
    server: Programs, work: Path, train: Callable[..., Outcome], failpoint: str
) -> None:
    configure(work, **{name: {"driver": "memory", "instant_mining": False} for name in MEMORY})
    assert train(AFTER_TRAINING, failpoint).code == -signal.SIGKILL
    assert server.mrv("flush", cwd=work).code == 3
    for name in MEMORY:
        MemoryChain(work / "artifacts" / "networks" / name, name).mine()
    assert server.mrv("flush", cwd=work).code == 0
    check_all_anchored_once(server, work)


EVENTS = """
import json, sqlite3, sys
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.vm.forks.prague import PragueVM
from mrv_backends_eth.keccak import keccak256
stored = dict(sqlite3.connect(sys.argv[1]).execute("SELECT key, value FROM chain"))
kind = type("Chain", (MiningChain,), {"chain_id": 131277322940537, "vm_configuration": ((0, PragueVM),)})
chain = kind(AtomicDB(MemoryDB(stored)))
blocks = map(chain.get_canonical_block_by_number, range(chain.get_canonical_head().block_number + 1))
logs = [log for block in blocks for receipt in block.get_receipts(chain.chaindb) for log in receipt.logs]
event = int.from_bytes(keccak256(b"HashStored(bytes32,string,uint256)"), "big")
print(json.dumps([f"{log.topics[1]:064x}" for log in logs if log.topics[0] == event]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", [name for name in FAILPOINTS if name not in (*UPGRADING, *ATTEMPTS)])
def test_killed_at_each_failpoint_flush_finishes_the_run_and_each_root_is_held_once(
    evm_server: Programs, work: Path, failpoint: str
) -> None:
    configure(work, **{name: {} for name in EMBEDDED})
    assert evm_server.run(PRELUDE + AFTER_TRAINING, failpoint, cwd=work).code == -signal.SIGKILL
    flushed = evm_server.mrv("flush", cwd=work)
    assert flushed.code == 0, flushed.err
    assert verdict(evm_server, work) == "VALID"

    anchored = sorted(root.removeprefix("sha256:") for root in roots(work))
    assert len(anchored) == 2
    networks = work / "artifacts" / "networks"
    assert sorted(evm_server.run(EVENTS, networks / "ethereum" / "chain.sqlite3").json) == anchored
    blocks = b"\n".join(path.read_bytes() for path in (networks / "ipfs" / "blocks").iterdir())
    entries = b"\n".join(
        row[0] for row in sqlite3.connect(networks / "log" / "log.sqlite3").execute("SELECT entry FROM entries")
    )
    for held in (blocks, entries):
        assert [held.count(root.encode()) for root in anchored] == [1, 1]
        assert len(held.splitlines()) == 2


# --- interrupted -------------------------------------------------------------------------------------------------

INTERRUPTED = """
from mrv_core.testing.memory import MemoryDriver
submit = MemoryDriver.submit

def interrupt(place):
    if place == sys.argv[2]:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))

def interrupted(driver, prepared):
    if prepared.network == "alpha":
        interrupt("after" if run.tree.epoch_count else "before")
    return submit(driver, prepared)

MemoryDriver.submit = interrupted
run = ProvenanceTracker(run_id="run-1")
with run:
    track(run)
    epoch(run, 1)
    interrupt("training")
    epoch(run, 2)
"""


@pytest.mark.parametrize("place", ["before", "training", "after"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_ends_as_it_would_without_us_and_goes_on_later(
    server: Programs, work: Path, train: Callable[..., Outcome], name: str, place: str
) -> None:
    outcome = train(INTERRUPTED, name, place)
    assert outcome.code == -getattr(signal, name)
    assert name != "SIGINT" or outcome.err.endswith("\nKeyboardInterrupt\n")
    again = train(GO_ON)
    assert again.code == 0, again.err
    assert server.mrv("flush", cwd=work).code == 0
    check_all_anchored_once(server, work)


def test_a_second_interrupt_is_not_kept_waiting(work: Path, train: Callable[..., Outcome]) -> None:
    """The first one comes in the training, the second while the end waits for a checkpoint that hangs."""
    hanging = {"driver": "memory", "timeout": 5, "fail": {"prepare": ["hang"]}}
    checkpoints = {"store_before_training": False, "store_after_training": False, "store_epoch_checkpoints": True}
    configure(work, storage_options=checkpoints, alpha=hanging)
    outcome = train("""
from mrv_core.manager import BlockchainManager
wait = BlockchainManager.wait_for_background

def interrupted(manager):
    print("waiting", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    wait(manager)

BlockchainManager.wait_for_background = interrupted
with ProvenanceTracker(run_id="run-1") as run:
    track(run)
    epoch(run, 1)
    os.kill(os.getpid(), signal.SIGINT)
""")
    assert (outcome.code, outcome.out) == (-signal.SIGINT, "waiting\n")


def test_signal_handlers_stay_the_users(start: Start) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with start() as run:
        run.track_epoch(1)
        assert {number: signal.getsignal(number) for number in before} == before
    assert {number: signal.getsignal(number) for number in before} == before


# --- ended by the training itself --------------------------------------------------------------------------------


def test_exiting_in_the_block_keeps_its_status_and_anchors_no_end(
    server: Programs, work: Path, train: Callable[..., Outcome]
) -> None:
    outcome = train("""
with ProvenanceTracker(run_id="run-1") as run:
    track(run)
    epoch(run, 1)
    sys.exit(7)
""")
    assert (outcome.code, outcome.out) == (7, "")
    assert "Traceback" not in outcome.err
    assert len(roots(work)) == 1
    assert train(GO_ON).code == 0
    check_all_anchored_once(server, work)


def test_an_exception_of_the_training_is_not_touched(start: Start) -> None:
    mine = RuntimeError("mine")

    def step() -> None:
        raise mine

    with pytest.raises(RuntimeError) as caught, start():
        step()
    assert caught.value is mine
    assert (mine.__cause__, mine.__context__) == (None, None)
    assert [entry.name for entry in caught.traceback] == [
        "test_an_exception_of_the_training_is_not_touched",
        "step",
    ]


def test_an_exception_of_the_training_comes_through_where_nothing_can_be_saved(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    mine = RuntimeError("mine")
    run = start()

    def step() -> None:
        shutil.rmtree(run.run_folder)
        raise mine

    with pytest.raises(RuntimeError) as caught, run:
        step()
    assert caught.value is mine
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert str(run.run_folder) in line


def test_without_one_it_is_an_error_that_nothing_can_be_saved(start: Start) -> None:
    with pytest.raises(StorageError, match="cannot write"), start() as run:
        shutil.rmtree(run.run_folder)


# --- forked ------------------------------------------------------------------------------------------------------

FORKED = """
from mrv_core.errors import RunStateError

def training():
    run = ProvenanceTracker(run_id="run-1")
    with run:
        track(run)
        epoch(run, 1)
        child = os.fork()
        if not child:
            {child}
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == {status}
        try:
            ProvenanceTracker.open(run.run_folder)
            raise AssertionError("the run is not locked any more")
        except RunStateError:
            epoch(run, 2)

training()
"""


@pytest.mark.parametrize(
    ("child", "status", "checkpoints"),
    [
        ("os._exit(4)", 4, True),
        ("sys.exit(3)", 3, True),
        ("return", 0, False),
        ("raise ValueError", 1, False),
        ("run.close(); os._exit(0)", 0, True),
        ("run.save(); os._exit(0)", 1, False),
        ("epoch(run, 9); os._exit(0)", 1, False),
        ("run.store_merkle_on_blockchain_after_training({}); os._exit(0)", 1, True),
    ],
)
def test_a_fork_neither_writes_nor_anchors_nor_unlocks(
    server: Programs, work: Path, train: Callable[..., Outcome], child: str, status: int, checkpoints: bool
) -> None:
    options = {"store_epoch_checkpoints": checkpoints}
    configure(work, storage_options=options, **{name: {"driver": "memory"} for name in MEMORY})
    outcome = train(FORKED.format(child=child, status=status))
    assert outcome.code == 0, outcome.err
    epochs = sorted(path.name for path in (work / "artifacts/run-1/epochs").iterdir())
    assert epochs == ["00000000.json", "00000001.json"]
    check_all_anchored_once(server, work, anchors=4 if checkpoints else 2)


def test_workers_of_a_pool_leave_the_run_alone(server: Programs, work: Path, train: Callable[..., Outcome]) -> None:
    outcome = train("""
import multiprocessing
with ProvenanceTracker(run_id="run-1") as run:
    track(run)
    for number in (1, 2):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, range(-3, 0)) == [3, 2, 1]
        epoch(run, number)
""")
    assert outcome.code == 0, outcome.err
    check_all_anchored_once(server, work)
