# SPDX-License-Identifier: MIT
"""Between sending and finality an anchor is evicted, stuck, outbid, overtaken, forgotten (F13 to F16, F22).

Every process here is a new one, as a user's would be, and the network is a real node.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from anchoring import ForkServer
from faults.lives import Life
from faults.worlds import World

from mrv_core.journal import JournalRow, JournalState

ALL = os.environ.get("MRV_FAULTS") == "all"
CHAINS = ("ethereum", "bitcoin")
PUT_BACK = [(since, check) for since in ("outbid", "overtaken", "final") for check in (True, False)]


@pytest.fixture(params=CHAINS)
def life(request: pytest.FixtureRequest, job_server: ForkServer, fast_folder: Path) -> Life:
    """An anchor that was sent and waits for a block."""
    world: World = request.getfixturevalue(f"{request.param}_world")
    life = Life(world, job_server, fast_folder)
    assert life.run(anchor=True) == 0
    assert row_of(life).state is JournalState.SUBMITTED
    return life


def row_of(life: Life) -> JournalRow:
    row = life.row
    assert row is not None
    return row


def bytes_of(row: JournalRow) -> bytes:
    assert row.prepared is not None
    return bytes.fromhex(row.prepared.payload_hex)


def test_evicted(life: Life) -> None:
    before = row_of(life)
    life.world.evict()
    assert life.world.count(life.commitment.hex, life.since) == 0
    assert life.run() == 0
    assert (row_of(life).reference, row_of(life).attempts) == (before.reference, before.attempts)
    assert life.world.count(life.commitment.hex, life.since) == 1
    life.finish()
    life.check("evicted from the mempool", fired=1, planned=1)


def test_stuck_and_outbid(life: Life) -> None:
    before = row_of(life)
    life.world.stick()
    assert life.run() == 0
    after = row_of(life)
    assert (after.state, after.attempts[1:]) == (JournalState.SUBMITTED, before.attempts)
    life.finish()
    assert row_of(life).reference == after.reference != before.reference
    life.check("stuck, and outbid", fired=1, planned=1)


def test_stuck_twice(life: Life) -> None:
    for _ in range(2):
        life.world.stick()
        assert life.run() == 0
    assert len(row_of(life).attempts) == 3
    life.finish()
    life.check("stuck twice", fired=1, planned=1)


@pytest.mark.parametrize("name", CHAINS)
def test_never_above_the_cap(
    request: pytest.FixtureRequest, job_server: ForkServer, fast_folder: Path, name: str
) -> None:
    world: World = request.getfixturevalue(f"{name}_world")
    cap = {"ethereum": {"max_fee_gwei": 20.0}, "bitcoin": {"max_fee_rate": 30.0}}[name]
    life = Life(world, job_server, fast_folder, **cap)
    assert life.run(anchor=True) == 0
    for _ in range(4):
        world.stick()
        assert life.run() == 0
        assert 0 < world.highest_fee(life.commitment.hex) <= max(cap.values())
    assert row_of(life).is_open
    life.finish()
    life.check("fees above the cap", fired=1, planned=1)


def test_overtaken(life: Life) -> None:
    before = row_of(life)
    life.world.overtake(bytes_of(before), before.reference or "")
    assert life.run() == 0
    after = row_of(life)
    assert before.reference not in (None, after.reference)
    assert after.attempts[1:] == before.attempts
    life.finish()
    life.check("overtaken for good", fired=1, planned=1)


def test_overtaken_and_given_back_by_a_reorg(life: Life) -> None:
    before = row_of(life)
    height = life.world.height()
    life.world.overtake(bytes_of(before), before.reference or "")
    life.world.reorg(life.world.height() - height)
    assert life.run() == 0
    life.finish()
    life.check("overtaken, then a reorg", fired=1, planned=1)


@pytest.mark.parametrize("blocks", [0, 1, 3] if ALL else [1])
def test_a_deleted_journal(life: Life, blocks: int) -> None:
    reference = row_of(life).reference
    life.world.mine(blocks)
    for path in life.base.glob("journal.sqlite3*"):
        path.unlink()
    for _ in range(3):  # a driver that cannot see what waits says so, until a block has it
        life.run(anchor=True)
        life.world.mine()
    life.finish()
    assert row_of(life).reference == reference
    life.check("journal deleted", fired=1, planned=1)


@pytest.mark.parametrize(("since", "check_first"), PUT_BACK if ALL else PUT_BACK[::3])
def test_an_old_journal_put_back(life: Life, since: str, check_first: bool) -> None:
    copy = life.base / "copy"
    shutil.copy(life.journal.path, copy)
    if since == "outbid":
        life.world.stick()
    elif since == "overtaken":
        life.world.overtake(bytes_of(row_of(life)), row_of(life).reference or "")
    assert life.run() == 0
    life.finish()
    reference = row_of(life).reference
    for path in life.base.glob("journal.sqlite3*"):
        path.unlink()
    shutil.copy(copy, life.journal.path)
    if check_first:
        life.run(fsck="rebuild")
    life.finish()
    assert row_of(life).reference == reference
    life.check("old journal put back", fired=1, planned=1)
