# SPDX-License-Identifier: MIT
"""Sixteen processes with one key, four of them killed: every root is on the chain once (F18).

Ordinarily each process anchors two roots, with `MRV_FAULTS=all` fifty. The seed is in the output of a failure and can
be given in `MRV_FAULTS_SEED`.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from anchoring import ForkServer, commitment_of
from faults.lives import KILLED, ROUNDS, check_all, settle_all
from faults.worlds import FINALITY, World

from mrv_core.journal import Journal

ALL = os.environ.get("MRV_FAULTS") == "all"
EACH = 50 if ALL else 2
PROCESSES, TO_KILL = 16, 4
SEED = int(os.environ.get("MRV_FAULTS_SEED") or random.SystemRandom().randrange(2**32))
BLOCK_S = 0.2


@contextmanager
def blocks(world: World) -> Iterator[None]:
    """Mine a block from time to time while processes run."""
    done = threading.Event()

    def mine() -> None:
        while not done.wait(BLOCK_S):
            world.mine()

    miner = threading.Thread(target=mine)
    miner.start()
    try:
        yield
    finally:
        done.set()
        miner.join()


@pytest.mark.parametrize("network", ["ethereum", "bitcoin"] if ALL else ["ethereum"])
def test_one_key_one_folder(
    request: pytest.FixtureRequest, job_server: ForkServer, fast_folder: Path, network: str
) -> None:
    print(f"MRV_FAULTS_SEED={SEED}")
    world: World = request.getfixturevalue(f"{network}_world")
    chance, since = random.Random(SEED), world.height()  # noqa: S311
    networks = {world.name: world.section(timeout=600.0)}
    jobs = [
        {
            "base": str(fast_folder),
            "networks": networks,
            "anchor": [f"{SEED} process {process} anchor {number}" for number in range(EACH)],
        }
        for process in range(PROCESSES)
    ]
    for job in chance.sample(jobs, TO_KILL):
        job["dies_after"] = chance.randrange(2 * EACH)  # each anchor comes by two failpoints at least
    with blocks(world):
        codes = job_server.run(*jobs)
    assert codes.count(0) == PROCESSES - TO_KILL
    unsound = settle_all(world, job_server, fast_folder, networks)
    fired = codes.count(KILLED)
    made = check_all(world, "16 processes, one key", fast_folder, since, fired=fired, planned=TO_KILL, unsound=unsound)
    assert made >= (PROCESSES - TO_KILL) * EACH


def test_one_key_two_folders(ethereum_world: World, job_server: ForkServer, fast_folder: Path) -> None:
    """It is advised against: they take the same nonces, so that some anchors are outdone, and made anew."""
    world, since = ethereum_world, ethereum_world.height()
    networks = {world.name: world.section(timeout=600.0)}
    bases = [fast_folder / "one", fast_folder / "other"]
    names = {base: [f"{SEED} {base.name} {number}" for number in range(EACH)] for base in bases}
    jobs = [{"base": str(base), "networks": networks, "anchor": names[base], "hasty": True} for base in bases]
    with blocks(world):
        assert job_server.run(*jobs) == [0, 0]
    for _ in range(ROUNDS):
        world.mine(FINALITY)
        assert job_server.run(*({"base": job["base"], "networks": networks, "hasty": True} for job in jobs)) == [0, 0]
    attempts = 0
    for base in bases:
        unsound = settle_all(world, job_server, base, networks)
        made = check_all(world, "one key, two folders", base, since, fired=1, planned=1, unsound=unsound)
        assert made == EACH
        assert {row.commitment for row in Journal(base).rows()} == {commitment_of(name) for name in names[base]}
        attempts += sum(len(row.attempts) for row in Journal(base).rows())
    assert attempts >= 2 * EACH
