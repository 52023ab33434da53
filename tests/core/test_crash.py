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

from mrv_core.failpoint import FAILPOINTS, GROUP_FAILPOINTS
from mrv_core.journal import Journal, JournalState
from mrv_core.testing.memory import MemoryChain

ROOT = commitment_of("root")
KILLED = -signal.SIGKILL
MARKET: dict[str, Any] = {
    "alpha": {
        "instant_mining": False,
        "finality_depth": 3,
        "retry_attempts": 1,
        "replaces": True,
        "searches": True,
        "sequential": True,
    }
}
SENDING = FAILPOINTS[: FAILPOINTS.index("anchor.before_receipt")]

RESUMES_AT = {
    "anchor.before_queue": "anchor.before_queue",
    "anchor.queued": "anchor.before_find",
    "anchor.before_find": "anchor.before_find",
    "anchor.before_prepare": "anchor.before_find",
    "anchor.before_prepared": "anchor.before_find",
    "anchor.prepared": "anchor.before_submit",
    "anchor.before_submit": "anchor.before_submit",
    "anchor.after_submit": "anchor.before_submit",
    "anchor.submitted": "anchor.before_receipt",
    "anchor.before_receipt": "anchor.before_receipt",
    "anchor.receipt": "anchor.before_receipt",
    "anchor.before_replacement": "anchor.before_replacement",
    "anchor.replacement": "anchor.before_submit",
    "anchor.before_conflict": "anchor.before_conflict",
    "anchor.conflict": "anchor.before_find",
}
"""Where the next process goes on after a kill at a failpoint; what lies before is not done again."""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: a killed process loses nothing there, and syncing is free."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


class Life:
    """One artifacts folder, the processes that come and go in it, and what happens to its network meanwhile."""

    def __init__(self, server: ForkServer, base: Path, networks: dict[str, Any] | None = None) -> None:
        self.server, self.base, self.networks = server, base, MARKET if networks is None else networks
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

    def lead_to(self, failpoint: str) -> None:
        """Bring what was sent into the situation in which the next process comes by a failpoint."""
        if failpoint in ("anchor.before_queue", "anchor.queued"):
            return
        height = self.chain.height()
        self.chain.reorg(height)
        if failpoint in ("anchor.before_receipt", "anchor.receipt"):
            self.chain.mine()
        elif failpoint in ("anchor.before_replacement", "anchor.replacement"):
            self.chain.set_fees(mining=10 + self.chain.fees().mining)
            self.chain.mine(height + 1)
        else:  # something else used its nonce, so that it is prepared anew
            waiting = self.chain.search(ROOT, "us")
            assert waiting is not None
            self.chain.spend(waiting.payload)
            self.chain.mine(2)

    def die_at(self, failpoint: str, *, anchor: bool = False) -> None:
        """Run processes until one is killed at a failpoint, the first of them as things are now."""
        if not anchor and not self.chain.path.exists():
            self.run(anchor=True)
        anchor = anchor or failpoint in ("anchor.before_queue", "anchor.queued")
        if self.run(failpoint=failpoint, anchor=anchor):
            return
        self.lead_to(failpoint)
        assert self.run(failpoint=failpoint, anchor=anchor), f"{failpoint} did not fire"

    def finish_and_check(self) -> None:
        """Let the network quieten down, and count on it."""
        self.run(anchor=True)
        self.chain.set_fees()
        for _ in range(2):  # the second time for what is anchored anew after a conflict
            self.chain.mine(3)
            self.run()
            (row,), count = self.state()
            if row.state is JournalState.FINAL:
                break
        assert (row.state, count) == (JournalState.FINAL, 1)
        there = self.chain.find(row.reference).payload.hex()
        assert there in {attempt.payload_hex for attempt in row.attempts} or not row.attempts


def test_the_failpoints_in_the_code_are_those_that_are_listed():
    sources = Path(__file__).parents[2].joinpath("mrv_core").rglob("*.py")
    used = re.findall(r'failpoint\("([^"]+)"\)', "\n".join(path.read_text() for path in sources))
    assert sorted(used) == sorted([*FAILPOINTS, *GROUP_FAILPOINTS])
    assert set(RESUMES_AT) == set(FAILPOINTS)


@pytest.mark.parametrize("first", FAILPOINTS)
def test_killed_anywhere_and_again_anywhere_in_recovery(server, folder, first):
    """One process dies at `first`, a later one at another place, and the next ones are left alone.

    Ordinarily that is every other place, and every one with `MRV_FAULTS=all`.
    """
    for number, second in enumerate(FAILPOINTS):
        if os.environ.get("MRV_FAULTS") != "all" and (FAILPOINTS.index(first) + number) % 2:
            continue
        life = Life(server, folder / second)
        life.die_at(first, anchor=first in SENDING)
        life.die_at(second, anchor=first == "anchor.before_queue" or number % 4 < 2)
        life.finish_and_check()


@pytest.mark.parametrize("first", FAILPOINTS)
def test_the_next_process_goes_on_where_the_killed_one_stopped(server, folder, first):
    """Nothing that was done is done again, and nothing is skipped."""
    life = Life(server, folder)
    life.die_at(first, anchor=first in SENDING)
    if first in ("anchor.submitted", "anchor.receipt"):
        life.chain.mine(3)
    passed = folder / "passed"
    assert not life.run(passed=str(passed), anchor=first == "anchor.before_queue")
    assert passed.read_text().split()[0] == RESUMES_AT[first]


@pytest.mark.parametrize("first", SENDING)
def test_after_recovery_running_again_changes_nothing(server, folder, first):
    life = Life(server, folder)
    assert life.run(anchor=True, failpoint=first)
    assert bool(life.state()[0]) is (first != "anchor.before_queue")
    assert life.state()[1] == (1 if SENDING.index(first) >= SENDING.index("anchor.after_submit") else 0)
    life.finish_and_check()
    before = Journal(life.base).path.read_bytes()
    life.run()
    life.run(anchor=True)
    assert Journal(life.base).path.read_bytes() == before
    assert life.state()[1] == 1


@pytest.mark.parametrize("failpoint", ["anchor.before_submit", "anchor.after_submit", "anchor.submitted"])
def test_killed_while_the_same_bytes_go_out_again_after_a_reorg(server, folder, failpoint):
    life = Life(server, folder)
    life.run(anchor=True)
    life.chain.mine()
    life.run()
    (row,), _ = life.state()
    life.chain.reorg(1, keep=False)
    assert life.run(failpoint=failpoint)
    life.finish_and_check()
    assert life.state()[0][0].reference == row.reference


@pytest.mark.parametrize("failpoint", ["anchor.before_submit", "anchor.after_submit", "anchor.submitted"])
def test_killed_around_the_sending_of_a_replacement_that_comes_too_late(server, folder, failpoint):
    """The outbid anchor is included while the process is dead."""
    life = Life(server, folder)
    life.run(anchor=True)
    ((row,), _) = life.state()
    life.lead_to("anchor.replacement")
    assert life.run(failpoint=failpoint)
    life.chain.evict()
    life.chain.take(bytes.fromhex(row.prepared.payload_hex))
    life.chain.set_fees()
    life.chain.mine()
    life.finish_and_check()
    ((after,), _) = life.state()
    assert after.reference == row.reference
    assert len(after.attempts) == 2


@pytest.mark.parametrize("failpoint", ["", *SENDING[2:]])
def test_killed_while_a_lost_journal_is_made_up_for(server, folder, failpoint):
    life = Life(server, folder)
    life.run(anchor=True)
    Journal(life.base).path.unlink()
    passes = failpoint in ("", "anchor.before_find")
    assert life.run(anchor=True, failpoint=failpoint) is (passes and bool(failpoint))
    life.finish_and_check()


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
    life = Life(server, folder)
    job: dict[str, Any] = {"base": str(folder), "networks": life.networks, "full_from": full_from}
    flushes = full_from not in ("", *SENDING)
    if flushes:
        life.run(anchor=True)
        life.lead_to(full_from)
    else:
        job["anchor"] = ["root"]
    (code,) = server.run(job)
    stored = full_from not in ("", "anchor.before_queue")
    # Whoever anchors is told when nothing was stored, and whoever flushes when what is left cannot be read.
    assert code == (REFUSED if flushes or not stored else 0)
    rows, count = life.state()
    assert len(rows) == (1 if stored else 0)
    assert count == 0 or rows[0].prepared is not None, "what is on the network was written down before"
    life.finish_and_check()
