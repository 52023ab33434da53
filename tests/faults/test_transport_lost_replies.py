# SPDX-License-Identifier: MIT
"""The node took what was sent and its answer is lost: core ends with exactly one anchor, counted on the network.

`MRV_FAULTS=all` runs a thousand anchors on unreliable nodes, otherwise a few. The seed is in the message of a failure
and can be given in `MRV_FAULTS_SEED`.
"""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest
from fault_modes import MODES
from faults.targets import METADATA, NETWORKS, SECRETS, Target, commitment_of, secret_url
from faulty import FaultServer, at_random, honest, on_call

from mrv_backends_btc import plugin as bitcoin_plugin
from mrv_backends_eth import plugin as ethereum_plugin
from mrv_backends_ipfs import plugin as ipfs_plugin
from mrv_core.config import load_config
from mrv_core.journal import JournalRow
from mrv_core.manager import BlockchainManager
from mrv_core.registry import Registry

LOST = sorted(mode for mode in MODES if mode.startswith("forward-then-"))
QUICKLY_LOST = [mode for mode in LOST if mode != "forward-then-silence"]
SEED = int(os.environ.get("MRV_FAULTS_SEED") or random.SystemRandom().randrange(2**32))
ANCHORS = 334 if os.environ.get("MRV_FAULTS") == "all" else 8
FLUSHES = 40


def manager_for(target: Target, url: str, folder: Path, timeout_s: float) -> BlockchainManager:
    """Return core with one network, whose attempts follow each other without a wait."""
    registry = Registry()
    for plugin in (bitcoin_plugin, ethereum_plugin, ipfs_plugin):
        registry.add_plugin(plugin, plugin.__name__)
    section = {**target.section(url), "timeout": timeout_s, "retry_attempts": 3}
    document = {"blockchain": {"networks": [target.name], target.name: section}}
    config = load_config(document, registry=registry, environment={})
    return BlockchainManager(config, base_dir=folder, registry=registry, sleep=lambda _: None)


def flush_until_final(manager: BlockchainManager, target: Target) -> list[JournalRow]:
    """Flush as often as a patient user would; return what is still open."""
    for _ in range(FLUSHES):
        target.settle()
        rows = manager.flush()
        if not rows:
            break
    return rows


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_target")


@pytest.mark.parametrize("mode", LOST)
@pytest.mark.parametrize("target", NETWORKS, indirect=True)
def test_an_anchor_whose_reply_is_lost_is_made_once(
    target: Target, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    caplog.set_level(logging.DEBUG)
    commitment = commitment_of(f"{target} {mode}")
    timeout_s = 3 if mode == "forward-then-silence" else 60
    with FaultServer(target.answer, on_call(0, mode, method=target.sends)) as server:
        with manager_for(target, secret_url(server), tmp_path, timeout_s) as manager:
            manager.anchor(commitment, METADATA)
            assert flush_until_final(manager, target) == []
        assert server.fired == {mode: 1}
        assert sum(commitment.hex in content for content in target.contents()) == 1
    assert [secret for secret in SECRETS if secret.lower() in caplog.text.lower()] == []


@pytest.mark.parametrize("target", NETWORKS, indirect=True)
def test_anchors_on_a_node_that_loses_three_replies_of_ten_are_made_once(target: Target, tmp_path: Path) -> None:
    seed = f"MRV_FAULTS_SEED={SEED}"
    commitments = [commitment_of(f"{target} {number}") for number in range(ANCHORS)]
    with FaultServer(target.answer, at_random(0.3, QUICKLY_LOST, SEED)) as server:
        with manager_for(target, secret_url(server), tmp_path, 60) as manager:
            for commitment in commitments:
                manager.anchor(commitment, METADATA)
            open_rows = flush_until_final(manager, target)
            server.plan = honest
            open_rows = flush_until_final(manager, target) if open_rows else []
        assert open_rows == [], seed
        assert server.fired == server.planned
        assert server.fired.total() > 0, seed
    contents = target.contents()
    assert {sum(commitment.hex in content for content in contents) for commitment in commitments} == {1}, seed
