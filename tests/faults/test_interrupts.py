# SPDX-License-Identifier: MIT
"""Ctrl-C in a training whose roots go to real networks: it ends at once, and what was sent is anchored once (F19)."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.lives import LIBRARIES
from faults.worlds import FINALITY, EthereumWorld, IpfsWorld
from programs import Programs, configure, programs

from mrv_core.journal import Journal

ALL = os.environ.get("MRV_FAULTS") == "all"
PLACES = ("before sending", "after sending", "training", "twice")
TRAINING = """
import os, signal, sys
import numpy as np
from mrv_core.tracker import ProvenanceTracker

place, run_id = sys.argv[1:]  # of its own, so that no other run has the same roots

def interrupt(where):
    if where == place:
        os.kill(os.getpid(), signal.SIGINT)

with ProvenanceTracker(run_id=run_id) as run:
    submit = run._manager.driver("ethereum").submit
    def interrupted(prepared):
        interrupt("before sending")
        receipt = submit(prepared)
        interrupt("after sending")
        return receipt
    run._manager.driver("ethereum").submit = interrupted
    run.track_data(np.arange(6.0).reshape(3, 2))
    run.track_model({"w": np.zeros(2, "<f4")})
    for epoch in range(3):
        run.track_epoch(epoch, {"w": np.full(2, epoch, "<f4")}, {"loss": 1 / (epoch + 1)})
        interrupt("training")
    if place == "twice":
        run._manager.driver("ethereum").submit = lambda prepared: os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
"""
GO_ON = """
import sys
import numpy as np
from mrv_core.tracker import ProvenanceTracker
with ProvenanceTracker.open(f"artifacts/{sys.argv[1]}") as run:
    slots = run.tree.state("present").slots
    if not run.anchors and "data/training" not in slots:
        run.track_data(np.arange(6.0).reshape(3, 2))
    if not run.anchors and "model/weights" not in slots:
        run.track_model({"w": np.zeros(2, "<f4")})
    for epoch in range(run.tree.epoch_count, 3):
        run.track_epoch(epoch, {"w": np.full(2, epoch, "<f4")}, {"loss": 1 / (epoch + 1)})
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Programs]:
    with programs(preload=LIBRARIES) as server:
        yield server


@pytest.mark.parametrize("place", PLACES if ALL else PLACES[1::2])
def test_interrupted(
    ethereum_world: EthereumWorld, ipfs_world: IpfsWorld, server: Programs, tmp_path: Path, place: str
) -> None:
    since, run_id = ethereum_world.height(), f"run-{place.replace(' ', '-')}-{secrets.token_hex(4)}"
    configure(tmp_path, ethereum=ethereum_world.section(), ipfs=ipfs_world.section())
    outcome = server.run(TRAINING, place, run_id, cwd=tmp_path)
    assert outcome.code == -signal.SIGINT, outcome.err
    assert outcome.err.endswith("\nKeyboardInterrupt\n")
    assert server.run(GO_ON, run_id, cwd=tmp_path).code == 0
    for _ in range(3):
        ethereum_world.mine(FINALITY)
        flushed = server.mrv("flush", cwd=tmp_path)
    assert flushed.code == 0, flushed.out + flushed.err
    assert server.mrv("verify", f"artifacts/{run_id}", cwd=tmp_path).code == 0
    rows = Journal(tmp_path / "artifacts").rows()
    assert {row.network for row in rows} == {"ethereum", "ipfs"}
    for world in (ethereum_world, ipfs_world):
        assert {world.count(row.commitment.hex, since) for row in rows if row.network == world.name} == {1}
    assert server.mrv("fsck", cwd=tmp_path).code == 0
