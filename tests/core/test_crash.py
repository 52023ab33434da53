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
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anchoring import REFUSED, ForkServer, chain_of, commitment_of, fork_server, make_manager

from mrv_core.errors import StorageError
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
        return Journal(self.base).rows(), self.chain.count(ROOT)


def test_the_failpoints_in_the_code_are_those_that_are_listed():
    sources = Path(__file__).parents[2].joinpath("mrv_core").rglob("*.py")
    used = re.findall(r'failpoint\("([^"]+)"\)', "\n".join(path.read_text() for path in sources))
    assert sorted(used) == sorted(FAILPOINTS)
    assert set(RESUMES_AT) == set(FAILPOINTS)


@pytest.mark.parametrize("again_by", ["anchor", "flush"])
@pytest.mark.parametrize("first", FAILPOINTS)
def test_killed_anywhere_and_again_anywhere_in_recovery(server, tmp_path, first, again_by):
    """One process dies at `first`, the next one at every other place in turn, and then one is left alone."""
    for second in FAILPOINTS:
        life = Life(server, tmp_path / second, LATER)
        if FAILPOINTS.index(first) < RECEIPT:
            assert life.run(anchor=True, failpoint=first)
        else:
            assert not life.run(anchor=True)
            life.chain.mine()
            assert life.run(failpoint=first)
        recover = {"anchor": True} if again_by == "anchor" else {}
        life.chain.mine()
        killed = life.run(failpoint=second, **recover)
        if not killed and FAILPOINTS.index(second) >= RECEIPT:
            life.chain.mine()
            killed = life.run(failpoint=second)
        assert killed is _passes(first, second, again_by), second
        _finish_and_check(life, queued=first != "anchor.before_queue" or (again_by == "anchor" and _queued(second)))


def _passes(first: str, second: str, again_by: str) -> bool:
    """Say whether the process after a kill at `first` comes by `second`."""
    if again_by == "anchor" and FAILPOINTS.index(second) < 2:
        return True
    if again_by == "flush" and (first == "anchor.before_queue" or FAILPOINTS.index(second) < 2):
        return False
    return FAILPOINTS.index(second) >= FAILPOINTS.index(RESUMES_AT[first])


def _queued(second: str) -> bool:
    return second != "anchor.before_queue"


def _finish_and_check(life: Life, *, queued: bool) -> None:
    life.run()
    life.chain.mine(3)
    life.run()
    rows, count = life.state()
    assert [row.state for row in rows] == ([JournalState.FINAL] if queued else [])
    assert count == (1 if queued else 0)
    before = Path(life.base, "journal.sqlite3").read_bytes() if queued else b""
    life.run()
    assert life.state() == (rows, count)
    if queued:
        assert Path(life.base, "journal.sqlite3").read_bytes() == before, "running again changes nothing"
        assert life.chain.find(rows[0].reference).payload.hex() == rows[0].prepared.payload_hex


@pytest.mark.parametrize("failpoint", ["anchor.before_submit", "anchor.after_submit", "anchor.submitted"])
def test_killed_while_the_same_bytes_go_out_again_after_a_reorg(server, tmp_path, failpoint):
    life = Life(server, tmp_path, LATER)
    life.run(anchor=True)
    life.chain.mine()
    life.run()
    (row,), _ = life.state()
    life.chain.reorg(1, keep=False)
    assert life.run(failpoint=failpoint)
    _finish_and_check(life, queued=True)
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


def test_four_processes_with_ten_anchors_each(server, tmp_path):
    names = [[f"process {process} anchor {number}" for number in range(10)] for process in range(4)]
    codes = server.run(*({"base": str(tmp_path), "networks": PATIENT, "anchor": mine} for mine in names))
    assert codes == [0] * 4
    rows = Journal(tmp_path).rows()
    assert {row.state for row in rows} == {JournalState.FINAL}
    assert len(rows) == 80
    for network in PATIENT:
        chain = chain_of(tmp_path, network)
        assert [chain.count(commitment_of(name)) for mine in names for name in mine] == [1] * 40
        assert chain.height() == 40


def test_all_processes_anchor_the_same(server, tmp_path):
    jobs = [{"base": str(tmp_path), "networks": PATIENT, "anchor": ["root"]} for _ in range(6)]
    assert server.run(*jobs) == [0] * 6
    assert [chain_of(tmp_path, network).count(ROOT) for network in PATIENT] == [1, 1]


def test_some_of_the_processes_are_killed(server, tmp_path):
    points = ["", "anchor.prepared", "", "anchor.after_submit", "anchor.before_submit", "anchor.queued"]
    jobs = [
        {
            "base": str(tmp_path),
            "networks": {"alpha": {"timeout": 300}},
            "anchor": [f"{number} {i}" for i in range(4)],
            "failpoint": point,
        }
        for number, point in enumerate(points)
    ]
    codes = server.run(*jobs)
    assert codes == [KILLED if point else 0 for point in points]
    assert server.run({"base": str(tmp_path), "networks": {"alpha": {"timeout": 300}}}) == [0]
    rows, chain = Journal(tmp_path).rows(), chain_of(tmp_path, "alpha")
    assert {row.state for row in rows} == {JournalState.FINAL}
    assert len(rows) >= 8 + 4
    assert [chain.count(row.commitment) for row in rows] == [1] * len(rows)
    assert chain.height() == len(rows)


# No space.


@pytest.mark.parametrize("begun", [False, True], ids=["new journal", "existing journal"])
def test_no_space_at_any_write_loses_and_repeats_nothing(server, tmp_path, begun):
    """Files may grow to a limit that moves up from nothing, so that each of the writes fails once."""
    seen = set()
    for limit in range(0, 66_000, 1500):
        life = Life(server, tmp_path / str(limit), {"alpha": {"retry_attempts": 1}})
        if begun:
            job = {"base": str(life.base), "networks": life.networks, "anchor": ["earlier"]}
            assert server.run(job) == [0]
        (code,) = server.run(
            {"base": str(life.base), "networks": life.networks, "anchor": ["root"], "largest_file": limit}
        )
        assert code in (0, REFUSED), limit
        try:
            rows = Journal(life.base).rows(commitment=ROOT)
        except StorageError:
            pytest.fail(f"a limit of {limit} bytes damaged the journal")
        state = rows[0].state if rows else None
        assert state is not None or code == REFUSED, "whoever anchors is told when nothing was stored"
        if life.chain.count(ROOT):
            assert rows[0].prepared is not None, "what is on the network was written down before"
        seen.add(state)
        assert not life.run(anchor=True)
        (row,), count = Journal(life.base).rows(commitment=ROOT), life.chain.count(ROOT)
        assert (row.state, count) == (JournalState.FINAL, 1), limit
    assert {None, JournalState.QUEUED, JournalState.FINAL} <= seen, "the limits must fall between the writes"
