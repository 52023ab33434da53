# SPDX-License-Identifier: MIT
"""A process killed at any named place on any real network, and again in its recovery, loses and doubles nothing (F01).

Ordinarily processes are killed at every place in a first run and in a recovery, on one of the networks with blocks and
where possible on the one without. `MRV_FAULTS=all` kills at every place after every other, on every network.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from anchoring import ForkServer
from faults.lives import KILLED, Life, check_all, settle_all
from faults.worlds import EthereumWorld, IpfsWorld, World

from mrv_core.failpoint import FAILPOINTS, GROUP_FAILPOINTS

ALL = os.environ.get("MRV_FAULTS") == "all"
SENDING = FAILPOINTS[: FAILPOINTS.index("anchor.before_receipt")]


def kill_twice(life: Life, first: str, second: str) -> None:
    life.die_at(first, anchor=first in SENDING)
    life.die_at(second, anchor=first == "anchor.before_queue")
    life.finish()
    life.check("killed at a failpoint, then in recovery", fired=2, planned=2)


def seconds(first: str, points: tuple[str, ...]) -> tuple[str, ...]:
    """Return where the recovery is killed after a kill at `first`."""
    return points if ALL else (points[(points.index(first) + len(points) // 2) % len(points)],)


CHAINS = ("ethereum", "bitcoin")
ON_CHAINS = [
    (network, first) for i, first in enumerate(FAILPOINTS) for j, network in enumerate(CHAINS) if ALL or i % 2 == j
]


@pytest.mark.parametrize(("network", "first"), ON_CHAINS)
def test_on_a_chain(
    request: pytest.FixtureRequest, job_server: ForkServer, fast_folder: Path, network: str, first: str
) -> None:
    world: World = request.getfixturevalue(f"{network}_world")
    for second in seconds(first, FAILPOINTS):
        kill_twice(Life(world, job_server, fast_folder / second), first, second)


def reachable(first: str) -> tuple[str, ...]:
    """Return where a process that recovers from a kill at `first` comes by, on a network without blocks."""
    if first == "anchor.submitted":  # it is final, so that only who anchors again does anything
        return SENDING[:2]
    resumes = {"anchor.before_queue": 2, "anchor.queued": 2}.get(first, 2 if first in SENDING[:5] else 6)
    return (*SENDING[:2], *SENDING[resumes:])


@pytest.mark.parametrize("first", SENDING if ALL else SENDING[1::2])
def test_on_a_store(ipfs_world: IpfsWorld, job_server: ForkServer, fast_folder: Path, first: str) -> None:
    """What a store has is final; there is nothing to wait for, to outbid or to overtake."""
    points = reachable(first)
    for second in points if ALL else (points[SENDING.index(first) % len(points)],):
        life = Life(ipfs_world, job_server, fast_folder / second)
        life.die_at(first, anchor=True)
        life.die_at(second, anchor=True)
        life.finish()
        life.check("killed at a failpoint, then in recovery", fired=2, planned=2)


UNSENT = GROUP_FAILPOINTS[:2]
"""Where a group is not written down yet, so that the recovery sends it as a group."""
GROUPS = [
    *((first, second) for first in UNSENT for second in GROUP_FAILPOINTS if ALL or first == second),
    ("group.prepared", "anchor.before_submit"),
    ("group.after_submit", "anchor.submitted"),
    ("group.submitted", "anchor.before_receipt"),
]


@pytest.mark.parametrize(("first", "second"), GROUPS)
def test_a_group(
    ethereum_world: EthereumWorld, job_server: ForkServer, fast_folder: Path, first: str, second: str
) -> None:
    """Several anchors that are prepared and sent together; the recovery takes what is left, one by one or together."""
    names = [f"{first} {second} {number}" for number in range(5)]
    networks, since = {"ethereum": ethereum_world.section()}, ethereum_world.height()
    flush = {"base": str(fast_folder), "networks": networks, "hasty": True}
    job = {**flush, "many": names}
    codes = job_server.run({**job, "failpoint": first})
    ethereum_world.mine()
    codes += job_server.run({**(job if first in UNSENT else flush), "failpoint": second})
    assert job_server.run(job) == [0]
    unsound = settle_all(ethereum_world, job_server, fast_folder, networks)
    fired = codes.count(KILLED)
    what = "killed in a group, then in recovery"
    made = check_all(ethereum_world, what, fast_folder, since, fired=fired, planned=2, unsound=unsound)
    assert made == len(names)
