# SPDX-License-Identifier: MIT
"""No space, no permission, no lock: what could not be written down is not sent, and goes out later (F08, F09, F17)."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from anchoring import REFUSED, ForkServer, commitment_of, make_manager
from faults.lives import Life
from faults.worlds import IpfsWorld, World

from mrv_backends_ipfs import plugin
from mrv_core.errors import StorageError
from mrv_core.failpoint import FAILPOINTS
from mrv_core.journal import Journal, JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.registry import Registry

ALL = os.environ.get("MRV_FAULTS") == "all"
SENDING = FAILPOINTS[: FAILPOINTS.index("anchor.before_receipt")]
FULL_FROM = ("", *SENDING) if ALL else ("", "anchor.queued", "anchor.after_submit")


@pytest.mark.parametrize("full_from", FULL_FROM)
@pytest.mark.parametrize("network", ["ethereum", "bitcoin", "ipfs"] if ALL else ["ethereum"])
def test_a_disk_that_is_full_from_some_point_on(
    request: pytest.FixtureRequest, job_server: ForkServer, fast_folder: Path, network: str, full_from: str
) -> None:
    world: World = request.getfixturevalue(f"{network}_world")
    life = Life(world, job_server, fast_folder)
    code = life.run(anchor=True, full_from=full_from)
    stored = full_from not in ("", "anchor.before_queue")
    assert code == (0 if stored else REFUSED), "whoever anchors is told when nothing was stored"
    row = life.row
    assert (row is not None) is stored
    if life.world.count(life.commitment.hex, life.since):
        assert row is not None
        assert row.prepared is not None, "what is on the network was written down before"
    ended = row is None or row.receipt is None or full_from == "anchor.submitted"  # where nothing is left to write
    life.finish()
    life.check("disk full from a failpoint on", fired=int(ended), planned=1)


needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="no user namespaces here",
)
PRELUDE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from anchoring import commitment_of, make_manager
from mrv_backends_ipfs import plugin
from mrv_core.errors import MrvError
from mrv_core.registry import Registry
registry = Registry()
registry.add_plugin(plugin, "ipfs")
base, sections = Path(sys.argv[2]), json.loads(sys.argv[3])
manager = make_manager(base, sections, registry=registry)
"""


def run_on_mount(mount: str, program: str, folder: Path, sections: dict[str, Any]) -> list[str]:
    """Run a program on IPFS with its folder on a mount of its own; return the lines it printed."""
    source = PRELUDE + textwrap.dedent(program)
    tests = str(Path(__file__).parents[1])
    command = ["unshare", "-rm", "sh", "-ec", f'{mount} && exec "$1" -c "$2" "$4" "$3" "$5"', "sh"]
    arguments = [sys.executable, source, str(folder), tests, json.dumps(sections)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_mounts
def test_a_small_disk_that_fills_up(ipfs_world: IpfsWorld, tmp_path: Path) -> None:
    """Anchors go out until nothing can be written down; with space again, the rest does."""
    program = """
        made = 0
        try:
            while True:
                manager.anchor(commitment_of(f"small disk {made}"))
                made += 1
        except MrvError as error:
            print(type(error).__name__, "free space" in error.hint or "Free" in error.hint)
        stored = len(manager.journal.rows())
        Path(base, "filler").unlink()
        for number in range(made + 1):
            manager.anchor(commitment_of(f"small disk {number}"))
        print(made, stored, len(manager.flush()), len(manager.journal.rows()))
    """
    mount = 'mount -t tmpfs -o size=160k none "$3" && head -c 50000 /dev/zero > "$3/filler"'
    told = run_on_mount(mount, program, tmp_path, {"ipfs": ipfs_world.section()})
    made, stored, left, rows = map(int, told[1].split())
    assert told[0] == "StorageError True"
    assert made > 0
    assert (stored, left, rows) == (made, 0, made + 1)
    counts = [ipfs_world.count(commitment_of(f"small disk {number}").hex) for number in range(made + 1)]
    assert counts == [1] * (made + 1)


@needs_mounts
def test_a_read_only_folder(ipfs_world: IpfsWorld, tmp_path: Path) -> None:
    program = """
        try:
            manager.anchor(commitment_of("read only"))
        except MrvError as error:
            print(type(error).__name__, error.hint)
        print(len(manager.journal.rows()))
    """
    Journal(tmp_path).enqueue(commitment_of("before"), "ipfs", {})
    mount = 'mount --bind "$3" "$3" && mount -o remount,ro,bind "$3"'
    told = run_on_mount(mount, program, tmp_path, {"ipfs": ipfs_world.section()})
    assert told == ["StorageError the folder or the file cannot be written; check their permissions", "1"]
    assert ipfs_world.count(commitment_of("read only").hex) == 0


@pytest.fixture
def manager(ipfs_world: IpfsWorld, tmp_path: Path) -> Iterator[BlockchainManager]:
    registry = Registry()
    registry.add_plugin(plugin, "ipfs")
    with make_manager(tmp_path, {"ipfs": ipfs_world.section()}, registry=registry) as manager:
        manager.journal = Journal(tmp_path, busy_timeout_s=0.05)
        yield manager


def held(manager: BlockchainManager, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a call after which another process is in the middle of a write that it does not finish."""

    def then_hold(prepared: Any) -> Any:
        result = call(prepared)
        manager.other.execute("BEGIN IMMEDIATE")  # type: ignore[attr-defined]
        return result

    return then_hold


def test_a_journal_locked_by_another_process(ipfs_world: IpfsWorld, manager: BlockchainManager) -> None:
    root = commitment_of("locked")
    manager.journal.enqueue(commitment_of("makes the file"), "ipfs", {})
    with closing(sqlite3.connect(manager.journal.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            manager.anchor(root)
        assert ipfs_world.count(root.hex) == 0, "what could not be written down was sent"
        other.execute("ROLLBACK")
        driver = manager.driver("ipfs")
        manager.other = other  # type: ignore[attr-defined]
        driver.submit = held(manager, driver.submit)  # type: ignore[method-assign]
        outcomes = manager.anchor(root)
        assert isinstance(outcomes["ipfs"].error, StorageError)
        states = {row.commitment: row.state for row in manager.journal.rows()}
        assert JournalState.PREPARED in states.values(), "sent, and its receipt could not be written down"
        other.execute("ROLLBACK")
        del driver.submit
    assert manager.flush() == []
    assert ipfs_world.count(root.hex) == 1
