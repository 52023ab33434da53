# SPDX-License-Identifier: MIT
"""A journal that is wrong, damaged or gone is put right from run folders and networks; nothing is anchored twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anchoring import chain_of, commitment_of, make_manager, memory_registry

import mrv_core.journal_repair as repair_module
from mrv_core.config import load_config
from mrv_core.errors import AnchorNotFoundError, StorageError
from mrv_core.fsck import CheckedRow, Finding, FsckReport, check_journal
from mrv_core.hashing import Digest
from mrv_core.journal import DamagedJournalError, Journal, JournalState
from mrv_core.journal_repair import examine
from mrv_core.manager import BlockchainManager
from mrv_core.run_batches import anchor_waiting_roots
from mrv_core.testing.memory import Fault, MemoryChain, MemoryDriver
from mrv_core.timestamps import keep_timestamp
from mrv_core.tracker import ProvenanceTracker

OK, REPAIRED, WRONG, COULD_NOT_CHECK = Finding.OK, Finding.REPAIRED, Finding.WRONG, Finding.COULD_NOT_CHECK
ONE = commitment_of("one")
SEARCHES: dict[str, Any] = {"instant_mining": False, "finality_depth": 3, "retry_attempts": 1, "searches": True}
BLIND: dict[str, Any] = {**SEARCHES, "searches": False}

Make = Callable[..., BlockchainManager]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function from settings of the network alpha to a manager."""
    made: list[BlockchainManager] = []

    def make(**settings: Any) -> BlockchainManager:
        made.append(make_manager(tmp_path, {"alpha": {**SEARCHES, **settings}}))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def chain(tmp_path: Path) -> MemoryChain:
    return chain_of(tmp_path, "alpha")


def driver_of(manager: BlockchainManager) -> MemoryDriver:
    driver = manager.driver("alpha")
    assert isinstance(driver, MemoryDriver)
    return driver


def run(manager: BlockchainManager, name: str = "run-1", **storage: bool) -> tuple[Path, Digest]:
    """Make a run with one anchor, and return its folder and root."""
    sections = {network: item.settings.model_dump() for network, item in manager.config.networks.items()}
    document = {"blockchain": {**{key: {**value, "driver": "memory"} for key, value in sections.items()}}}
    document["blockchain"]["storage_options"] = storage
    config = load_config(document, registry=memory_registry(), environment={})
    data = manager.base_dir / f"{name}.csv"
    data.write_text(name)
    tracker = ProvenanceTracker(manager.base_dir, config, run_id=name, registry=memory_registry())
    tracker.track_data(data)
    tracker.anchor_snapshot()
    tracker.close()
    return tracker.run_folder, tracker.anchors[0].file.root


def collect(manager: BlockchainManager, folder: Path) -> None:
    """Let a run folder take the journal's receipts, as every command does."""
    tracker = ProvenanceTracker.open(folder, manager.config, registry=memory_registry())
    tracker.collect_receipts()
    tracker.close()


def findings(report: FsckReport) -> list[Finding]:
    return [row.finding for row in report.rows]


def only(report: FsckReport) -> CheckedRow:
    (row,) = report.rows
    return row


def finish(manager: BlockchainManager, chain: MemoryChain, *commitments: Digest) -> None:
    """Flush until all is final, and count on the network."""
    manager.flush()
    chain.mine(3)
    manager.flush()
    assert {row.commitment for row in manager.journal.rows()} == set(commitments)
    assert {row.state for row in manager.journal.rows()} == {JournalState.FINAL}
    assert [chain.count(commitment) for commitment in commitments] == [1] * len(commitments)
    report = check_journal(manager)
    assert (report.file, set(findings(report))) == (OK, {OK})


# An intact file.


def test_nothing_is_changed_where_all_is_right(make, chain):
    manager = make()
    _, root = run(manager)
    chain.mine(3)
    manager.flush()
    manager.anchor(ONE)
    manager.journal.enqueue(commitment_of("two"), "alpha", {})
    before = manager.journal.rows()
    report = check_journal(manager)
    assert (report.file, report.problems, report.kept) == (OK, (), None)
    assert [(row.commitment, row.finding, row.state) for row in report.rows] == [
        (root, OK, "final"),
        (ONE, OK, "submitted"),
        (commitment_of("two"), OK, "queued"),
    ]
    assert report.rows[2].detail == "waits for 'mrv flush'"
    assert manager.journal.rows() == before
    assert FsckReport.from_bytes(report.to_bytes(), what="report") == report


def test_an_empty_folder_has_nothing_wrong_and_gets_no_journal(make, tmp_path):
    report = check_journal(make())
    assert (report.file, report.rows) == (OK, ())
    assert not Journal(tmp_path).path.exists()


@pytest.mark.parametrize("settings", [SEARCHES, BLIND])
def test_what_is_on_the_network_already_is_written_down(make, chain, settings):
    """Sent, and killed before the answer was written down."""
    manager = make(**settings)
    driver_of(manager).script("submit", Fault.LOST_REPLY)
    manager.anchor(ONE)
    assert manager.journal.rows()[0].state is JournalState.PREPARED
    row = only(check_journal(manager))
    assert (row.finding, row.state) == (REPAIRED, "submitted")
    assert row.detail.startswith("the journal said prepared as ")
    assert only(check_journal(manager)).finding is OK
    finish(manager, chain, ONE)


def test_what_was_refused_and_is_there_is_written_down(make, chain):
    manager = make()
    manager.anchor(commitment_of("other"))
    driver_of(manager).script("submit", Fault.REJECTED)
    manager.anchor(ONE)
    rejected = manager.journal.find(ONE, "alpha")
    assert [row.detail for row in check_journal(manager).rows][1] == "alpha refused the call, as scripted"
    chain.take(bytes.fromhex(rejected.prepared.payload_hex))
    assert findings(check_journal(manager)) == [OK, REPAIRED]
    finish(manager, chain, commitment_of("other"), ONE)


def test_a_reorg_deeper_than_final_is_seen(make, chain):
    manager = make()
    manager.anchor(ONE)
    chain.mine(3)
    manager.flush()
    chain.reorg(3)
    chain.mine()
    row = only(check_journal(manager))
    assert (row.finding, row.state) == (REPAIRED, "included")
    chain.mine(2)
    assert (only(check_journal(manager)).state, only(check_journal(manager)).finding) == ("final", OK)


def test_a_final_anchor_that_is_gone_is_wrong_and_queued_again_on_demand_only(make, chain):
    manager = make()
    manager.anchor(ONE)
    chain.mine(3)
    manager.flush()
    before = manager.journal.rows()
    chain.reorg(3, keep=False)
    row = only(check_journal(manager))
    assert (row.finding, row.state, row.reference) == (WRONG, "final", before[0].reference)
    assert "'mrv fsck --rebuild' queues it again" in row.detail
    assert manager.journal.rows() == before
    report = check_journal(manager, rebuilding=True)
    assert (only(report).finding, only(report).state, report.kept) == (REPAIRED, "prepared", None)
    finish(manager, chain, ONE)
    assert manager.journal.rows()[0].reference == before[0].reference, "the same bytes"


def test_an_open_anchor_that_is_gone_is_queued_again(make, chain):
    manager = make()
    manager.anchor(ONE)
    chain.evict()
    row = only(check_journal(manager))
    assert (row.finding, row.state) == (REPAIRED, "prepared")
    finish(manager, chain, ONE)


@pytest.mark.parametrize("method", ["upgrade", "verify"])
def test_an_anchor_of_something_else_is_wrong(make, chain, method):
    manager = make()
    manager.anchor(ONE)
    chain.mine(3)
    manager.flush()
    before = manager.journal.rows()
    driver_of(manager).script(method, Fault.LIE)
    assert only(check_journal(manager)).finding is WRONG
    assert manager.journal.rows() == before


def test_a_network_that_cannot_be_asked_is_neither(make, chain, tmp_path):
    manager = make()
    manager.anchor(ONE)
    driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
    row = only(check_journal(manager))
    assert (row.finding, row.state, row.detail) == (COULD_NOT_CHECK, "submitted", "alpha is unavailable, as scripted")
    with make_manager(tmp_path, {"beta": {}}) as other:
        row = only(check_journal(other))
    assert (row.finding, row.detail) == (COULD_NOT_CHECK, "the network is not configured")


def test_a_network_that_is_anchoring_is_waited_for_and_then_told(make, tmp_path):
    manager = make(timeout=0.3)
    manager.anchor(ONE)
    with Journal(tmp_path).exclusive("alpha", 1):
        row = only(check_journal(manager))
    assert row.finding is COULD_NOT_CHECK
    assert only(check_journal(manager)).finding is OK


def test_one_network_of_two_that_is_down_does_not_hide_the_other(tmp_path):
    with make_manager(tmp_path, {"alpha": SEARCHES, "beta": SEARCHES}) as manager:
        manager.anchor(ONE)
        driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
        assert findings(check_journal(manager)) == [COULD_NOT_CHECK, OK]


# A journal that is gone, or older than what was sent.


@pytest.mark.parametrize("settings", [SEARCHES, BLIND])
@pytest.mark.parametrize("rebuilding", [False, True])
@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_deleted_journal_is_made_again_from_the_run_folders_and_the_network(
    make, chain, settings, rebuilding, blocks
):
    manager = make(**settings)
    folder, root = run(manager)
    chain.mine(blocks)
    manager.flush()
    (before,) = manager.journal.rows()
    manager.journal.path.unlink()
    report = check_journal(manager, rebuilding=rebuilding)
    assert (report.file, report.problems) == (REPAIRED, ("there is no journal",))
    assert only(report).finding is REPAIRED
    (after,) = manager.journal.rows()
    assert (after.reference, after.metadata, after.receipt) == (before.reference, before.metadata, before.receipt)
    finish(manager, chain, root)
    collect(manager, folder)


def test_without_receipts_the_network_is_searched(make, chain):
    """The process was killed before the run folder got a receipt."""
    manager = make()
    driver_of(manager)
    folder, root = run(make(fail={"submit": ["lost_reply"]}))
    assert ProvenanceTracker.open(folder, manager.config, registry=memory_registry()).anchors[0].file.receipts == {}
    assert chain.count(root) == 1
    manager.journal.path.unlink()
    assert only(check_journal(manager)).detail == "the journal did not know it; adopted from the network"
    finish(manager, chain, root)


def test_what_is_nowhere_is_left_for_flush(make, chain):
    manager = make()
    _, root = run(make(fail={"prepare": ["unavailable"]}))
    manager.journal.path.unlink()
    chain.mine()
    row = only(check_journal(manager, rebuilding=True))
    assert (row.finding, row.state, chain.count(root)) == (REPAIRED, "queued", 0)
    finish(manager, chain, root)


def test_a_receipt_whose_anchor_is_gone_is_wrong_and_queued_again_on_demand_only(make, chain):
    manager = make()
    _, root = run(manager)
    manager.journal.path.unlink()
    chain.evict()
    report = check_journal(manager)
    assert (report.file, only(report).finding, only(report).state) == (WRONG, WRONG, None)
    assert not manager.journal.path.exists()
    report = check_journal(manager, rebuilding=True)
    assert (report.file, only(report).finding, only(report).state) == (REPAIRED, REPAIRED, "queued")
    finish(manager, chain, root)


def test_a_lost_journal_and_a_network_that_is_down_anchor_nothing_twice(make, chain):
    """Nobody can be asked; the run folder's receipt is taken over, so that the anchor is not sent again later."""
    manager = make(**BLIND)
    _, root = run(manager)
    chain.mine(3)
    manager.flush()
    manager.journal.path.unlink()
    driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
    report = check_journal(manager)
    assert (only(report).finding, manager.journal.rows()) == (COULD_NOT_CHECK, [])
    driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
    report = check_journal(manager, rebuilding=True)
    assert (report.file, only(report).finding, only(report).state) == (REPAIRED, COULD_NOT_CHECK, "submitted")
    finish(manager, chain, root)


@pytest.mark.parametrize("settings", [SEARCHES, BLIND])
def test_an_old_journal_put_back_is_brought_up_to_date(make, chain, tmp_path, settings):
    manager = make(**settings)
    manager.anchor(ONE)
    shutil.copy(manager.journal.path, tmp_path / "backup")
    roots = [run(manager, f"run-{number}")[1] for number in range(3)]
    chain.mine()
    manager.flush()
    shutil.copy(tmp_path / "backup", manager.journal.path)
    report = check_journal(make(**settings))
    assert (report.file, findings(report)) == (OK, [REPAIRED] * 4)
    assert [row.state for row in report.rows] == ["included"] * 4
    finish(manager, chain, ONE, *roots)


@pytest.mark.parametrize("settings", [SEARCHES, BLIND])
def test_a_journal_without_its_write_ahead_log_is_brought_up_to_date(make, chain, tmp_path, settings):
    manager = make(**settings)
    manager.anchor(ONE)
    with closing(sqlite3.connect(manager.journal.path)) as reader:  # keeps the log from being applied
        reader.execute("SELECT * FROM anchors").fetchone()
        _, root = run(manager)
        assert manager.journal.path.with_name("journal.sqlite3-wal").stat().st_size > 0
        main = manager.journal.path.read_bytes()
    for path in tmp_path.glob("journal.sqlite3*"):
        path.unlink()
    manager.journal.path.write_bytes(main)
    assert [row.commitment for row in Journal(tmp_path).rows()] == [ONE]
    report = check_journal(make(**settings))
    assert findings(report) == [OK, REPAIRED]
    finish(manager, chain, ONE, root)


# A damaged file.


def damage(journal: Journal, statement: str) -> None:
    with closing(sqlite3.connect(journal.path)) as database:
        database.execute(statement)
        database.commit()


def test_a_damaged_row_is_told_and_rebuilt_from_the_network(make, chain):
    manager = make()
    _, root = run(manager)
    manager.anchor(ONE)
    first, second = manager.journal.rows()
    damage(manager.journal, "UPDATE anchors SET error = 'edited' WHERE id = 1")
    content = manager.journal.path.read_bytes()
    report = check_journal(manager)
    assert (report.file, report.rows, report.kept) == (WRONG, (), None)
    assert any("row 1 is damaged: the checksum does not fit" in problem for problem in report.problems)
    assert manager.journal.path.read_bytes() == content
    report = check_journal(manager, rebuilding=True)
    assert report.file is REPAIRED
    assert report.kept == f"{manager.journal.path}.damaged-1"
    assert Path(report.kept).read_bytes() == content
    assert {row.commitment: row.finding for row in report.rows} == {ONE: OK, root: REPAIRED}
    rows = {row.commitment: row for row in Journal(manager.base_dir).rows()}
    assert (rows[root].reference, rows[ONE].prepared) == (first.reference, second.prepared)
    finish(manager, chain, ONE, root)


def test_intact_rows_keep_their_bytes_and_their_attempts(make, chain):
    manager = make(replaces=True, sequential=True)
    manager.anchor(ONE)
    chain.set_fees(mining=10)
    chain.mine()
    manager.flush()
    manager.journal.enqueue(commitment_of("two"), "alpha", {"run_id": "x", "n": [1.5, None]})
    before = manager.journal.rows()
    manager.journal.enqueue(commitment_of("three"), "alpha", {})
    damage(manager.journal, "UPDATE anchors SET state = 'final' WHERE id = 3")
    check_journal(manager, rebuilding=True)
    assert Journal(manager.base_dir).rows() == before
    assert len(before[0].earlier) == 1


def test_a_damaged_attempt_costs_its_row_that_attempt_only(make, chain):
    manager = make(replaces=True)
    manager.anchor(ONE)
    chain.set_fees(mining=10)
    chain.mine()
    manager.flush()
    (before,) = manager.journal.rows()
    damage(manager.journal, "UPDATE attempts SET ended = 'edited'")
    report = check_journal(manager, rebuilding=True)
    assert (report.file, findings(report)) == (REPAIRED, [OK])
    (after,) = Journal(manager.base_dir).rows()
    assert (after.prepared, after.receipt, after.earlier) == (before.prepared, before.receipt, ())


def test_earlier_attempts_stay_with_their_anchor_and_go_with_it(make, chain):
    manager = make(replaces=True)
    manager.anchor(ONE)
    chain.set_fees(mining=10)
    chain.mine()
    manager.flush()
    (before,) = manager.journal.rows()
    damage(manager.journal, "UPDATE anchors SET id = 7")
    assert check_journal(manager).file is WRONG
    assert check_journal(manager, rebuilding=True).file is REPAIRED
    assert [replace(row, id=7) for row in Journal(manager.base_dir).rows()] == [replace(before, id=7)]
    assert len(before.earlier) == 1
    damage(manager.journal, "DELETE FROM anchors")
    with pytest.raises(DamagedJournalError, match="is of another anchor"):
        manager.anchor(commitment_of("two"))
    assert check_journal(manager, rebuilding=True).file is REPAIRED
    (after,) = Journal(manager.base_dir).rows()
    assert (after.commitment, after.earlier) == (commitment_of("two"), ())


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look at" * 100])
def test_a_file_that_is_no_journal_is_kept_and_replaced(make, chain, content):
    manager = make()
    _, root = run(manager)
    manager.journal.path.write_bytes(content)
    assert check_journal(manager).file is WRONG
    report = check_journal(manager, rebuilding=True)
    assert (report.file, findings(report)) == (REPAIRED, [REPAIRED])
    assert Path(report.kept).read_bytes() == content
    finish(manager, chain, root)


def test_every_kept_file_has_a_name_of_its_own(make, tmp_path):
    manager = make()
    run(manager)
    for number in (1, 2):
        manager.journal.path.write_bytes(b"damage %d" % number * 1000)
        assert check_journal(manager, rebuilding=True).kept == str(tmp_path / f"journal.sqlite3.damaged-{number}")
    kept = sorted(tmp_path.glob("*damaged*"))
    assert [path.read_bytes()[:8] for path in kept] == [b"damage 1", b"damage 2"]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


def test_the_log_is_kept_with_its_file_and_not_applied_to_the_new_one(make, tmp_path, chain):
    manager = make()
    manager.anchor(ONE)
    with closing(sqlite3.connect(manager.journal.path)) as reader:  # keeps the log from being applied
        reader.execute("SELECT * FROM anchors").fetchone()
        _, root = run(manager)
        damage(manager.journal, "UPDATE anchors SET error = 'edited' WHERE id = 2")
        kept = check_journal(manager, rebuilding=True).kept
        assert Path(f"{kept}-wal").stat().st_size > 0
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT error FROM anchors WHERE id = 2").fetchone() == ("edited",)
    finish(make(), chain, ONE, root)


def test_a_file_cut_anywhere_gives_back_intact_rows_only_and_is_rebuilt(make, chain, tmp_path):
    manager = make()
    roots = [run(manager, f"run-{number}")[1] for number in range(8)]
    rows, data = manager.journal.rows(), manager.journal.path.read_bytes()
    salvaged = []
    for number, length in enumerate(range(0, len(data), 1531)):
        cut = tmp_path / f"cut-{number}"
        cut.mkdir()
        (cut / manager.journal.path.name).write_bytes(data[:length])
        examined = examine(Journal(cut))
        assert examined.problems
        assert all(row in rows for row in examined.rows), f"{length} bytes"
        salvaged.append(len(examined.rows))
    assert 0 in salvaged
    assert any(0 < count < len(rows) for count in salvaged), "some cuts must leave a part"
    manager.journal.path.write_bytes(data[: len(data) // 2])
    report = check_journal(manager, rebuilding=True)
    assert (report.file, len(report.rows)) == (REPAIRED, 8)
    finish(manager, chain, *roots)


@pytest.mark.parametrize("step", ["os.replace", "Path.unlink", "sync_folder", "os.fsync"])
def test_a_rebuild_that_fails_at_any_step_loses_nothing_and_can_be_repeated(make, chain, monkeypatch, step):
    manager = make()
    _, root = run(manager)
    manager.anchor(ONE)
    damage(manager.journal, "UPDATE anchors SET error = 'edited' WHERE id = 1")
    (manager.base_dir / "journal.sqlite3-wal").write_bytes(b"")

    def fail(*args: object, **options: object) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        module, _, name = step.rpartition(".")
        patch.setattr({"os": os, "Path": Path, "": repair_module}[module], name, fail)
        with pytest.raises(StorageError, match="No space left on device"):
            check_journal(manager, rebuilding=True)
    assert [row.commitment for row in examine(manager.journal).rows] == [ONE]
    assert check_journal(manager, rebuilding=True).file is REPAIRED
    finish(manager, chain, ONE, root)


def test_what_is_sent_while_a_rebuild_waits_is_not_forgotten(make, chain):
    """Where nothing can be searched, the journal alone knows it."""
    anchoring, damaged = make(searches=False, timeout=30), commitment_of("damaged")
    row = anchoring.journal.enqueue(ONE, "alpha", {})
    anchoring.journal.enqueue(damaged, "alpha", {})
    damage(anchoring.journal, "UPDATE anchors SET error = 'edited' WHERE id = 2")
    manager, waits = make(searches=False, timeout=30), threading.Event()
    exclusive = manager.journal.exclusive

    def waiting(*args: Any) -> Any:
        waits.set()
        return exclusive(*args)

    manager.journal.exclusive = waiting
    rebuilding = threading.Thread(target=check_journal, args=(manager,), kwargs={"rebuilding": True})
    with anchoring.journal.exclusive("alpha", 1):
        rebuilding.start()
        assert waits.wait(10)
        anchoring.anchoring("alpha").advance(row)
    rebuilding.join()
    assert Journal(manager.base_dir).find(ONE, "alpha").state is JournalState.SUBMITTED
    finish(manager, chain, ONE)


def test_of_two_rebuilds_at_once_the_second_finds_nothing_to_do(make, chain):
    managers = [make(searches=False, timeout=30) for _ in range(2)]
    managers[0].anchor(ONE)
    managers[0].journal.enqueue(commitment_of("damaged"), "alpha", {})
    damage(managers[0].journal, "UPDATE anchors SET error = 'edited' WHERE id = 2")
    both = threading.Barrier(2, timeout=10)
    reports: list[FsckReport] = []

    def rebuild(manager: BlockchainManager) -> None:
        exclusive = manager.journal.exclusive

        def together(*args: Any) -> Any:
            both.wait()
            return exclusive(*args)

        manager.journal.exclusive = together
        reports.append(check_journal(manager, rebuilding=True))

    threads = [threading.Thread(target=rebuild, args=(manager,)) for manager in managers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.kept is not None for report in reports) == [False, True]
    assert sorted(report.file for report in reports) == [OK, REPAIRED]
    finish(make(searches=False), chain, ONE)


def test_what_is_no_damage_is_an_error(make, tmp_path):
    manager = make()
    manager.anchor(ONE)
    damage(manager.journal, "PRAGMA user_version = 3")
    for rebuilding in (False, True):
        with pytest.raises(StorageError, match="newer than this program knows") as failure:
            check_journal(manager, rebuilding=rebuilding)
        assert not isinstance(failure.value, DamagedJournalError)
    assert not list(tmp_path.glob("*damaged*"))


# Run folders.


def test_a_run_folder_that_cannot_be_read_is_told(make, chain):
    manager = make()
    folder, _ = run(manager)
    other, _ = run(manager, "run-2")
    (folder / "run.json").write_text("{}")
    anchor = next((other / "anchors").iterdir())
    anchor.write_bytes(anchor.read_bytes().replace(b"run-2", b"run-3"))
    report = check_journal(manager)
    assert (report.file, findings(report)) == (COULD_NOT_CHECK, [OK, OK])
    assert [problem.partition(":")[0] for problem in report.problems] == [str(folder), str(other)]


def test_a_receipt_of_another_root_is_not_adopted(make, chain):
    manager = make()
    folder, root = run(manager)
    foreign = manager.anchor(ONE)["alpha"].receipt
    tracker = ProvenanceTracker.open(folder, manager.config, registry=memory_registry())
    (anchor,) = tracker.anchors
    file = anchor.file.model_copy(update={"receipts": {"alpha": foreign}})
    tracker._folder.write_anchor(type(anchor)(anchor.name, file))
    tracker.close()
    manager.journal.path.unlink()
    row = only(check_journal(manager, rebuilding=True))
    assert (row.commitment, row.finding, row.state) == (root, WRONG, None)
    driver_of(manager).script("upgrade", Fault.UNAVAILABLE)
    assert only(check_journal(manager, rebuilding=True)).state is None


def batched(manager: BlockchainManager) -> tuple[list[Path], Digest]:
    folders = [run(manager, f"run-{number}", store_in_batches=True)[0] for number in range(3)]
    done = anchor_waiting_roots(folders, manager)
    assert done is not None
    return folders, done.batch.commitment


def test_an_imported_receipt_is_checked_and_never_anchored_by_us(make, tmp_path):
    """What others stamped is kept in the run folder alone: in the journal it would be anchored anew, at a price."""
    manager = make()
    folder, root = run(manager)
    chain = chain_of(tmp_path, "beta")
    both = make_manager(tmp_path, {"alpha": SEARCHES, "beta": BLIND})
    driver = both.driver("beta")
    keep_timestamp(folder, driver.submit(driver.prepare(root, {})))
    chain.mine(3)
    for rebuilding in (False, True):
        beta = {row.network: row for row in check_journal(both, rebuilding=rebuilding).rows}["beta"]
        assert (beta.finding, beta.state, beta.detail.partition(" ")[0]) == (OK, None, "imported")
    driver.script("upgrade", Fault.UNAVAILABLE)
    beta = {row.network: row for row in check_journal(both, rebuilding=True).rows}["beta"]
    assert (beta.finding, beta.state) == (COULD_NOT_CHECK, None)
    driver.script("upgrade", AnchorNotFoundError("it is gone"))
    beta = {row.network: row for row in check_journal(both, rebuilding=True).rows}["beta"]
    assert (beta.finding, beta.state) == (WRONG, None)
    assert [row.network for row in both.journal.rows()] == ["alpha"]
    both.close()


def test_a_batch_is_one_anchor(make, chain):
    manager = make(**BLIND)
    folders, commitment = batched(manager)
    for folder in folders:
        collect(manager, folder)
    manager.journal.path.unlink()
    row = only(check_journal(manager))
    assert (row.commitment, row.finding) == (commitment, REPAIRED)
    assert manager.journal.rows()[0].metadata == {"format": "mrv-batch/1", "size": 3}
    finish(manager, chain, commitment)


def test_a_batch_whose_runs_have_no_proof_is_looked_for_and_not_queued(make, chain, monkeypatch):
    manager = make()
    with monkeypatch.context() as patch:
        patch.setattr("mrv_core.run_batches._give_proofs", lambda *args: None)
        commitment = batched(manager)[1]
    manager.journal.path.unlink()
    assert (only(check_journal(manager)).finding, chain.count(commitment)) == (REPAIRED, 1)
    manager.journal.path.unlink()
    chain.evict()
    row = only(check_journal(manager, rebuilding=True))
    assert (row.finding, row.state, row.detail) == (OK, None, "a batch that was never queued")
    (manager.base_dir / "batches" / "broken.json").write_text("{}")
    assert "broken.json" in check_journal(manager).problems[-1]
