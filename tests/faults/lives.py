# SPDX-License-Identifier: MIT
"""Processes that come and go around one anchor on a real network, until it is final."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anchoring import ForkServer, commitment_of, fork_server
from faults import tally
from faults.worlds import FINALITY, World

from mrv_core.journal import Journal, JournalRow, JournalState

KILLED = -signal.SIGKILL
PLUGINS = ("mrv_backends_btc.plugin", "mrv_backends_eth.plugin", "mrv_backends_ipfs.plugin")
LIBRARIES = (
    "mrv_backends_btc.driver",
    "mrv_backends_eth.driver",
    "mrv_backends_eth.rpc_chain",
    "mrv_backends_eth.writing",
    "mrv_backends_ipfs.client",
    "mrv_backends_ipfs.driver",
    "eth_account",
)
ROUNDS = 12
"""More flushes than any anchor needs once nothing goes wrong any more."""
_numbers = itertools.count()


@contextmanager
def driver_server() -> Iterator[ForkServer]:
    """Start a server whose jobs use the drivers of real networks, with their libraries imported once."""
    with fork_server(*PLUGINS, preload=LIBRARIES) as server:
        yield server


class Life:
    """One artifacts folder with one anchor, and the processes that work on it.

    Args:
        world: The network.
        server: Forks the processes.
        base: The artifacts folder.
        settings: Changes to the network's section.
    """

    def __init__(self, world: World, server: ForkServer, base: Path, **settings: Any) -> None:
        self.world, self.server, self.base = world, server, base
        self.name = f"life {next(_numbers)}"
        self.commitment = commitment_of(self.name)
        self.networks = {world.name: world.section(**settings)}
        self.journal = Journal(base)
        self.since = world.height()

    def run(self, *, anchor: bool = False, **job: Any) -> int:
        """Run one process that anchors, or flushes, or does what the job says; return its exit code."""
        names = {"anchor": [self.name]} if anchor else {}
        common = {"base": str(self.base), "networks": self.networks, "hasty": True}
        (code,) = self.server.run({**common, **names, **job})
        return code

    @property
    def row(self) -> JournalRow | None:
        rows = self.journal.rows(commitment=self.commitment)
        return rows[0] if rows else None

    def die_at(self, failpoint: str, *, anchor: bool = False) -> None:
        """Run processes until one is killed at a failpoint, the first of them as things are now."""
        anchors = anchor or failpoint in ("anchor.before_queue", "anchor.queued")
        if not anchors and self.row is None:
            assert self.run(anchor=True) == 0
        for _ in range(ROUNDS):
            code = self.run(anchor=anchors, failpoint=failpoint)
            if code == KILLED:
                return
            assert code == 0
            self._lead_to(failpoint)
        raise AssertionError(f"{failpoint} did not fire on {self.world.name}; the anchor is {self.row}")

    def _lead_to(self, failpoint: str) -> None:
        """Bring what was sent a step nearer to the situation in which the next process comes by a failpoint."""
        row = self.row
        assert row is not None
        reference = row.reference or ""
        if any(self.world.is_mined(attempt.reference) for attempt in row.attempts):
            self.world.reorg(self.world.height() - self.since)
        elif failpoint in ("anchor.before_receipt", "anchor.receipt"):
            self.world.mine()
        elif failpoint in ("anchor.before_replacement", "anchor.replacement"):
            self.world.stick()
        elif row.prepared is not None:
            self.world.overtake(bytes.fromhex(row.prepared.payload_hex), reference)

    def finish(self) -> None:
        """Let the network quieten down and processes flush until the anchor is final."""
        self.world.calm()
        self.run(anchor=True)
        for _ in range(ROUNDS):
            row = self.row
            if row is not None and row.state is JournalState.FINAL:
                return
            self.world.mine(FINALITY)
            self.world.calm()
            self.run()

    def check(self, what: str, *, fired: int, planned: int) -> None:
        """Count on the network, check the journal, and add to the tally."""
        there = self.world.count(self.commitment.hex, self.since)
        row = self.row
        final = row is not None and row.state is JournalState.FINAL
        sound = self.run(fsck="check") == 0
        written = [path.read_bytes() for path in self.base.rglob("*") if path.is_file()]
        assert not any(secret.encode() in content for secret in self.world.secrets for content in written)
        tally.count(
            what,
            self.world.name,
            fired=fired,
            planned=planned,
            lost=int(there == 0 or not final),
            duplicated=max(0, there - 1),
            fsck_errors=int(not sound),
        )


def settle_all(world: World, server: ForkServer, base: Path, networks: dict[str, Any]) -> int:
    """Flush in one process after another until nothing is open; return the exit code of a check of the journal."""
    for _ in range(ROUNDS):
        if not Journal(base).rows(only_open=True):
            break
        world.mine(FINALITY)
        assert server.run({"base": str(base), "networks": networks}) == [0]
    return server.run({"base": str(base), "networks": networks, "fsck": "check"})[0]


def check_all(world: World, what: str, base: Path, since: int, *, fired: int, planned: int, unsound: int) -> int:
    """Count every root of a journal on the network; return how many there are."""
    rows = Journal(base).rows()
    counts = [world.count(row.commitment.hex, since) for row in rows]
    lost = sum(row.state is not JournalState.FINAL or count == 0 for row, count in zip(rows, counts, strict=True))
    doubled = sum(max(0, count - 1) for count in counts)
    tally.count(
        what, world.name, fired=fired, planned=planned, lost=lost, duplicated=doubled, fsck_errors=int(unsound != 0)
    )
    return len(rows)
