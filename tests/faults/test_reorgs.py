# SPDX-License-Identifier: MIT
"""Random reorgs while roots are anchored: all end final and once, and none is VALID while it is in no block (F11, F12).

Ordinarily a few; `MRV_FAULTS=all` 200 on anvil and 100 on regtest. The seed is in the output of a failure and can be
given in `MRV_FAULTS_SEED`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from anchoring import commitment_of
from faults import tally
from faults.lives import PLUGINS
from faults.worlds import World

from mrv_core.config import load_config
from mrv_core.errors import MrvError, VerificationError
from mrv_core.fsck import Finding, check_journal
from mrv_core.journal import JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.models import ReceiptState
from mrv_core.registry import Registry

ALL = os.environ.get("MRV_FAULTS") == "all"
SEED = int(os.environ.get("MRV_FAULTS_SEED") or random.SystemRandom().randrange(2**32))
REORGS = {"ethereum": 200 if ALL else 8, "bitcoin": 100 if ALL else 5}
ANCHORS = 100 if ALL else 5
DEEPEST = 12
FINALITY = DEEPEST + 1

Make = Callable[[World], BlockchainManager]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Build managers in this process, whose attempts follow each other without a wait."""
    registry = Registry()
    for name in PLUGINS:
        registry.add_plugin(import_module(name), name)
    made: list[BlockchainManager] = []

    def make(world: World) -> BlockchainManager:
        section: dict[str, Any] = world.section(finality=FINALITY, timeout=120.0)
        config = load_config({"blockchain": {world.name: section}}, registry=registry, environment={})
        made.append(BlockchainManager(config, base_dir=tmp_path, registry=registry, sleep=lambda _: None))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


class Reorganised:
    """A network that is reorganised at random, and what is claimed about it meanwhile."""

    def __init__(self, world: World, manager: BlockchainManager, chance: random.Random) -> None:
        self.world, self.manager, self.chance = world, manager, chance
        self.since = world.height()
        self.fired = 0
        self.false_claims: list[str] = []

    def mine(self) -> None:
        self.world.mine(self.chance.randint(1, 3))

    def reorg(self) -> None:
        depth = min(self.chance.randint(1, DEEPEST), self.world.height() - self.since)
        before = self.hash_of(self.world.height())
        self.world.reorg(depth)
        self.fired += before != self.hash_of(self.world.height())

    def hash_of(self, height: int) -> str:
        """Ask the node for the hash of a block."""
        if self.world.name == "bitcoin":
            return str(self.world.rpc("getblockhash", height))  # type: ignore[attr-defined]
        return str(self.world.rpc("eth_getBlockByNumber", hex(height), False)["hash"])  # type: ignore[attr-defined]

    def verify_everything(self) -> None:
        """Note every receipt that is verified as included although no block has it."""
        rows = [row for row in self.manager.journal.rows() if row.receipt is not None]
        closed = [row for row in rows if not row.is_open]
        for row in [*(row for row in rows if row.is_open), *self.chance.sample(closed, min(3, len(closed)))]:
            if row.receipt is None:
                continue
            try:
                verified = self.manager.verify_receipt(row.network, row.receipt, row.commitment)
            except VerificationError as error:
                self.false_claims.append(f"{row.reference} is wrong: {error}")
            except MrvError:
                continue
            else:
                if verified.state is not ReceiptState.PENDING and not self.world.is_mined(row.reference or ""):
                    self.false_claims.append(f"{row.reference} is {verified.state}, and in no block")


@pytest.mark.parametrize(("network", "place"), [("ethereum", "young_ethereum_world"), ("bitcoin", "bitcoin_world")])
def test_random_reorgs(request: pytest.FixtureRequest, make: Make, network: str, place: str) -> None:
    print(f"MRV_FAULTS_SEED={SEED}")
    world: World = request.getfixturevalue(place)
    manager = make(world)
    chain = Reorganised(world, manager, random.Random(SEED))  # noqa: S311
    roots = [commitment_of(f"{SEED} {network} {number}") for number in range(ANCHORS)]
    events = ["reorg"] * REORGS[network] + ["anchor"] * ANCHORS
    chain.chance.shuffle(events)
    left = iter(roots)
    events.remove("anchor")
    for event in ["anchor", *events]:
        if event == "anchor":
            manager.anchor(next(left))
            chain.mine()
        else:
            chain.mine()
            chain.reorg()
            chain.verify_everything()
            manager.flush()
            chain.verify_everything()
    for _ in range(4):
        world.mine(FINALITY)
        manager.flush()
    rows = manager.journal.rows()
    counts = [world.count(root.hex, chain.since) for root in roots]
    report = check_journal(manager)
    assert chain.false_claims == []
    assert len(rows) == len(roots)
    tally.count(
        "reorgs",
        network,
        fired=chain.fired,
        planned=REORGS[network],
        lost=sum(row.state is not JournalState.FINAL for row in rows) + counts.count(0),
        duplicated=sum(max(0, count - 1) for count in counts),
        fsck_errors=sum(row.finding is not Finding.OK for row in report.rows),
    )
