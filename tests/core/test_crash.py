# SPDX-License-Identifier: MIT
"""Whatever kills a process and wherever, each commitment is on the network exactly once in the end.

Counted on the network itself, never in our own journal. Every test asserts that the processes really died.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anchoring import REFUSED, ForkServer, chain_of, commitment_of, fork_server, make_manager

from mrv_core.failpoint import FAILPOINTS
from mrv_core.journal import Journal, JournalState
from mrv_core.testing.memory import MemoryChain

ROOT = commitment_of("root")
KILLED = -signal.SIGKILL
LATER = {"alpha": {"instant_mining": False, "finality_depth": 3, "retry_attempts": 1}}
RECEIPT = FAILPOINTS.index("anchor.before_receipt")

RESUMES_AT = {
    "anchor.before_queue": "anchor.before_queue",
    "anchor.queued": "anchor.before_prepare",
    "anchor.before_prepare": "anchor.before_prepare",
    "anchor.before_prepared": "anchor.before_prepare",
    "anchor.prepared": "anchor.before_submit",
    "anchor.before_submit": "anchor.before_submit",
    "anchor.after_submit": "anchor.before_submit",
    "anchor.submitted": "anchor.before_receipt",
    "anchor.before_receipt": "anchor.before_receipt",
    "anchor.receipt": "anchor.before_receipt",
}
"""Where the next process goes on after a kill at a failpoint; what lies before is not done again."""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


class Life:
    """One artifacts folder, and the processes that come and go in it."""

    def __init__(self, server: ForkServer, base: Path, networks: dict[str, Any]) -> None:
        self.server, self.base, self.networks = server, base, networks
        self.chain: MemoryChain = chain_of(base, "alpha")

    def run(self, *, failpoint: str = "", anchor: bool = False, **job: Any) -> bool:
        """Run one process that anchors or flushes; say whether it was killed."""
        names = {"anchor": ["root"]} if anchor else {}
        (code,) = self.server.run(
            {"base": str(self.base), "networks": self.networks, "failpoint": failpoint, **names, **job}
        )
        assert code in (0, KILLED)
        return code == KILLED

    def state(self) -> tuple[list[Any], int]:
        begun = self.chain.path.exists() and self.chain.path.stat().st_size
        return Journal(self.base).rows(), self.chain.count(ROOT) if begun else 0


def test_the_failpoints_in_the_code_are_those_that_are_listed():
    sources = Path(__file__).parents[2].joinpath("mrv_core").rglob("*.py")
    used = re.findall(r'failpoint\("([^"]+)"\)', "\n".join(path.read_text() for path in sources))
    assert sorted(used) == sorted(FAILPOINTS)
    assert set(RESUMES_AT) == set(FAILPOINTS)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: a killed process loses nothing there, and syncing is free."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("first", FAILPOINTS)
def test_killed_anywhere_and_again_anywhere_in_recovery(server, folder, first):
    """One process dies at `first`, the next one at each place that it comes by, and the third one is left alone."""
    for number, second in enumerate(FAILPOINTS):
        anchors_again = number % 2 == 0  # as a training does that is started again; the others flush
        if not _passes(first, second, anchors_again):
            continue
        life = Life(server, folder / second, LATER)
        if FAILPOINTS.index(first) < RECEIPT:
            assert life.run(anchor=True, failpoint=first)
        else:
            assert not life.run(anchor=True)
            life.chain.mine()
            assert life.run(failpoint=first)
        life.chain.mine()
        killed = life.run(failpoint=second, anchor=anchors_again)
        if not killed and FAILPOINTS.index(second) >= RECEIPT:
            life.chain.mine(3)
            killed = life.run(failpoint=second)
        assert killed, second
        _finish_and_check(life, queued=bool(life.state()[0]))


def _passes(first: str, second: str, anchors_again: bool) -> bool:
    """Say whether the process after a kill at `first` comes by `second`."""
    if FAILPOINTS.index(second) < 2:
        return anchors_again
    if first == "anchor.before_queue" and not anchors_again:
        return False
    return FAILPOINTS.index(second) >= FAILPOINTS.index(RESUMES_AT[first])


def _finish_and_check(life: Life, *, queued: bool = True) -> None:
    life.run()
    life.chain.mine(3)
    life.run()
    rows, count = life.state()
    assert [row.state for row in rows] == ([JournalState.FINAL] if queued else [])
    assert count == (1 if queued else 0)
    for row in rows:
        assert row.prepared is not None
        assert life.chain.find(row.reference).payload.hex() == row.prepared.payload_hex


@pytest.mark.parametrize("first", FAILPOINTS[:RECEIPT])
def test_after_recovery_running_again_changes_nothing(server, folder, first):
    life = Life(server, folder, LATER)
    assert life.run(anchor=True, failpoint=first)
    assert bool(life.state()[0]) is (first != "anchor.before_queue")
    assert life.state()[1] == (1 if FAILPOINTS.index(first) >= FAILPOINTS.index("anchor.after_submit") else 0)
    life.run(anchor=True)
    _finish_and_check(life)
    before = Journal(life.base).path.read_bytes()
    life.run()
    life.run(anchor=True)
    assert Journal(life.base).path.read_bytes() == before
    assert life.state()[1] == 1


@pytest.mark.parametrize("failpoint", ["anchor.before_submit", "anchor.after_submit", "anchor.submitted"])
def test_killed_while_the_same_bytes_go_out_again_after_a_reorg(server, folder, failpoint):
    life = Life(server, folder, LATER)
    life.run(anchor=True)
    life.chain.mine()
    life.run()
    (row,), _ = life.state()
    life.chain.reorg(1, keep=False)
    assert life.run(failpoint=failpoint)
    _finish_and_check(life)
    assert life.state()[0][0].reference == row.reference


def test_an_interpreter_of_its_own_is_killed_by_the_environment_alone(tmp_path):
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from anchoring import commitment_of, make_manager
        from pathlib import Path
        make_manager(Path({str(tmp_path)!r}), {{"alpha": {{}}}}).anchor(commitment_of("root"))
    """
    environment = {**os.environ, "MRV_FAILPOINT": "anchor.after_submit"}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True)
    assert done.returncode == KILLED, done.stderr
    assert chain_of(tmp_path, "alpha").count(ROOT) == 1
    assert [row.state for row in Journal(tmp_path).rows()] == [JournalState.PREPARED]
    with make_manager(tmp_path, {"alpha": {}}) as manager:
        assert manager.flush() == []
    assert chain_of(tmp_path, "alpha").count(ROOT) == 1


# Several processes at once.

PATIENT = {"alpha": {"timeout": 300}, "beta": {"timeout": 300}}


def test_four_processes_with_ten_anchors_each(server, folder):
    names = [[f"process {process} anchor {number}" for number in range(10)] for process in range(4)]
    codes = server.run(*({"base": str(folder), "networks": PATIENT, "anchor": mine} for mine in names))
    assert codes == [0] * 4
    rows = Journal(folder).rows()
    assert {row.state for row in rows} == {JournalState.FINAL}
    assert len(rows) == 80
    for network in PATIENT:
        chain = chain_of(folder, network)
        assert [chain.count(commitment_of(name)) for mine in names for name in mine] == [1] * 40
        assert chain.height() == 40


def test_all_processes_anchor_the_same(server, folder):
    jobs = [{"base": str(folder), "networks": PATIENT, "anchor": ["root"]} for _ in range(6)]
    assert server.run(*jobs) == [0] * 6
    assert [chain_of(folder, network).count(ROOT) for network in PATIENT] == [1, 1]


def test_some_of_the_processes_are_killed(server, folder):
    points = ["", "anchor.prepared", "", "anchor.after_submit", "anchor.before_submit", "anchor.queued"]
    jobs = [
        {
            "base": str(folder),
            "networks": {"alpha": {"timeout": 300}},
            "anchor": [f"{number} {i}" for i in range(4)],
            "failpoint": point,
        }
        for number, point in enumerate(points)
    ]
    codes = server.run(*jobs)
    assert codes == [KILLED if point else 0 for point in points]
    assert server.run({"base": str(folder), "networks": {"alpha": {"timeout": 300}}}) == [0]
    rows, chain = Journal(folder).rows(), chain_of(folder, "alpha")
    assert {row.state for row in rows} == {JournalState.FINAL}
    assert len(rows) >= 8 + 4
    assert [chain.count(row.commitment) for row in rows] == [1] * len(rows)
    assert chain.height() == len(rows)


# No space.


@pytest.mark.parametrize("full_from", ["", *FAILPOINTS])
def test_no_space_from_anywhere_on_loses_and_repeats_nothing(server, folder, full_from):
    life = Life(server, folder, {"alpha": {**LATER["alpha"], "finality_depth": 1}})
    job: dict[str, Any] = {"base": str(folder), "networks": life.networks, "full_from": full_from}
    flushes = full_from in FAILPOINTS[RECEIPT:]
    if flushes:
        life.run(anchor=True)
        life.chain.mine()
    else:
        job["anchor"] = ["root"]
    (code,) = server.run(job)
    stored = full_from not in ("", "anchor.before_queue")
    # Whoever anchors is told when nothing was stored, and whoever flushes when what is left cannot be read.
    assert code == (REFUSED if flushes or not stored else 0)
    rows, count = life.state()
    assert len(rows) == (1 if stored else 0)
    assert count == 0 or rows[0].prepared is not None, "what is on the network was written down before"
    life.run(anchor=True)
    _finish_and_check(life)
