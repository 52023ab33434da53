# SPDX-License-Identifier: MIT
"""Nodes that are killed, held, and wiped while anchors are made (F03, F04, F23, F24)."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from anchoring import UNSOUND, ForkServer
from faults.lives import Life
from faults.places import BYTECODE
from faults.worlds import EthereumWorld, World

from mrv_core.journal import JournalState
from mrv_devnet.nodes import AnvilNode

NETWORKS = ("ethereum", "bitcoin", "ipfs")
UNABLE = {"retry_attempts": 2, "timeout": 2.0}


@pytest.fixture(params=NETWORKS)
def life(request: pytest.FixtureRequest, job_server: ForkServer, fast_folder: Path) -> Life:
    world: World = request.getfixturevalue(f"{request.param}_world")
    return Life(world, job_server, fast_folder, **UNABLE)


def test_held_while_it_is_sent_to(life: Life) -> None:
    """The kernel takes the request, the node answers when it goes on: our process has long given up."""
    life.world.node.send(signal.SIGSTOP)
    try:
        assert life.run(anchor=True) == 0
        row = life.row
        assert row is not None
        assert row.receipt is None
    finally:
        life.world.node.send(signal.SIGCONT)
    life.finish()
    life.check("node held", fired=1, planned=1)


@pytest.mark.parametrize("life", ["bitcoin", "ipfs"], indirect=True)  # anvil keeps nothing that is not a second old
@pytest.mark.parametrize("queued_first", [True, False])
def test_killed_and_started_again(life: Life, queued_first: bool) -> None:
    if not queued_first:
        assert life.run(anchor=True) == 0
    life.world.node.kill()
    assert not life.world.node.is_running()
    assert life.run(anchor=True) == 0
    row = life.row
    assert row is not None
    assert row.state is not JournalState.REJECTED
    life.world.node.start()
    life.finish()
    life.check("node killed", fired=1, planned=1)


def test_a_chain_that_is_wiped_is_not_taken_for_the_old_one(
    new_anvil: Callable[..., AnvilNode], job_server: ForkServer, fast_folder: Path
) -> None:
    """Another chain with the same id on the same port: nothing on it is ours, and nothing is called final or valid."""
    options = ("--no-mining", "--slots-in-an-epoch", "1")
    old = new_anvil(keep_state=False, options=options)
    world = EthereumWorld(old, json.loads(BYTECODE.read_bytes())["bytecode"])
    life, other = Life(world, job_server, fast_folder, **UNABLE), Life(world, job_server, fast_folder, **UNABLE)
    life.finish()
    assert other.run(anchor=True) == 0
    old.stop()
    new_anvil(keep_state=False, options=options, port=old.port())
    before = life.row
    assert life.run(fsck="check") == UNSOUND
    assert other.run() == 0
    assert life.row == before, "what is known of it is kept"
    row = other.row
    assert row is not None
    assert row.is_open
    assert row.error is not None
    assert row.attempts, "what was sent is kept"
