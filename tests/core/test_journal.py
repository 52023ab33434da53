# SPDX-License-Identifier: MIT
"""The journal keeps every intention exactly once, says what is damaged, and never takes damage for done."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest
from anchoring import commitment_of, fork_server

from mrv_core.errors import BackendUnavailableError, FormatError, StorageError
from mrv_core.journal import Journal, JournalRow, JournalState
from mrv_core.models import NO_METADATA, Prepared, Receipt, ReceiptState, utc_now

ONE, TWO = commitment_of("one"), commitment_of("two")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "artifacts", busy_timeout_s=0.05)


def prepared(row: JournalRow, number: str = "1") -> Prepared:
    return Prepared(network=row.network, commitment=row.commitment, reference=f"tx-{number}", payload_hex="abcd")


def receipt(row: JournalRow, state: ReceiptState, **changes: object) -> Receipt:
    values = {"reference": "tx-1", "submitted_at": utc_now(), "driver": "memory", "network_id": "m", "embedded": True}
    return Receipt(network=row.network, commitment=row.commitment, state=state, **{**values, **changes})


def filled(journal: Journal) -> Journal:
    """Put a row of every kind into a journal."""
    first = journal.enqueue(ONE, "alpha", {"run_id": "run-1"})
    journal.record_receipt(journal.record_prepared(first, prepared(first)), receipt(first, ReceiptState.FINAL))
    second = journal.enqueue(ONE, "beta", NO_METADATA)
    journal.record_prepared(second, prepared(second))
    third = journal.enqueue(TWO, "alpha", NO_METADATA)
    third = journal.record_replacement(journal.record_prepared(third, prepared(third)), prepared(third, "2"), "outbid")
    journal.record_error(journal.record_conflict(third, "its nonce was used"), "not reachable")
    return journal


def edit(journal: Journal, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(journal.path)) as database:
        database.execute(statement, values)
        database.commit()


# What is kept.


def test_reading_creates_nothing(journal):
    assert journal.rows() == []
    assert not journal.path.parent.exists()
    with pytest.raises(StorageError, match="has no row"):
        journal.find(ONE, "alpha")


def test_an_anchor_moves_through_its_states_and_survives_another_process(journal):
    row = journal.enqueue(ONE, "alpha", {"run_id": "run-1", "depth": [1, 2.5, None]})
    assert (row.state, row.commitment, row.network) == (JournalState.QUEUED, ONE, "alpha")
    assert row.metadata == {"run_id": "run-1", "depth": [1, 2.5, None]}
    assert (row.prepared, row.receipt, row.reference, row.error, row.is_open) == (None, None, None, None, True)
    row = journal.record_prepared(row, prepared(row))
    assert (row.state, row.reference, row.prepared) == (JournalState.PREPARED, "tx-1", prepared(row))
    states = []
    for state in (ReceiptState.PENDING, ReceiptState.INCLUDED, ReceiptState.PENDING, ReceiptState.FINAL):
        row = journal.record_receipt(row, receipt(row, state, reference="tx-2"))
        states.append(row.state)
        assert row.reference == "tx-2"
    assert states == [JournalState.SUBMITTED, JournalState.INCLUDED, JournalState.SUBMITTED, JournalState.FINAL]
    assert not row.is_open
    assert Journal(journal.path.parent).rows() == [row]


def test_a_commitment_is_queued_once_on_each_network(journal):
    first = journal.enqueue(ONE, "alpha", {"n": 1})
    journal.record_prepared(first, prepared(first))
    again = journal.enqueue(ONE, "alpha", {"n": 2})
    assert (again.id, again.state, again.metadata) == (first.id, JournalState.PREPARED, {"n": 1})
    journal.enqueue(ONE, "beta", NO_METADATA)
    assert len(journal.rows()) == 2


def test_what_a_network_rejected_can_be_queued_again(journal):
    row = journal.enqueue(ONE, "alpha", NO_METADATA)
    row = journal.record_rejected(journal.record_prepared(row, prepared(row)), "no\nfunds")
    assert (row.state, row.error, row.is_open, row.reference) == (JournalState.REJECTED, "no funds", False, "tx-1")
    again = journal.enqueue(ONE, "alpha", NO_METADATA)
    assert (again.id, again.state, again.error, again.prepared) == (row.id, JournalState.QUEUED, None, None)
    assert [(attempt.prepared, attempt.ended) for attempt in again.earlier] == [(row.prepared, "no funds")]


def test_every_attempt_at_an_anchor_is_kept_in_its_order(journal):
    row = journal.enqueue(ONE, "alpha", NO_METADATA)
    other = journal.enqueue(TWO, "alpha", NO_METADATA)
    journal.record_conflict(journal.record_prepared(other, prepared(other, "9")), "another row's")
    first, second, third, fourth = (prepared(row, number) for number in "1234")
    row = journal.record_prepared(row, first)
    assert (row.attempts, row.earlier) == ((first,), ())
    row = journal.record_receipt(row, receipt(row, ReceiptState.PENDING))
    row = journal.record_replacement(row, second, "outbid by\ntx-2")
    assert (row.state, row.receipt, row.prepared, row.reference) == (JournalState.PREPARED, None, second, "tx-2")
    assert [(attempt.prepared, attempt.ended) for attempt in row.earlier] == [(first, "outbid by tx-2")]
    row = journal.record_receipt(row, receipt(row, ReceiptState.PENDING))
    row = journal.record_conflict(row, "its nonce\x1b was used")
    assert (row.state, row.receipt, row.prepared, row.reference) == (JournalState.QUEUED, None, None, None)
    assert (row.error, row.is_open, row.attempts) == ("its nonce was used", True, (second, first))
    row = journal.record_replacement(journal.record_prepared(row, third), fourth, "outbid")
    assert row.attempts == (fourth, third, second, first)
    assert [attempt.ended for attempt in row.earlier] == ["outbid by tx-2", "its nonce was used", "outbid"]
    row = journal.record_receipt(row, receipt(row, ReceiptState.INCLUDED, reference="tx-1"))
    assert (row.reference, row.prepared) == ("tx-1", fourth), "an older attempt was included"
    assert Journal(journal.path.parent).rows()[0] == row
    assert len(journal.rows()[1].attempts) == 1


def test_a_found_anchor_that_is_dropped_is_queued(journal):
    """There are no bytes of it here that could be sent again."""
    row = journal.enqueue(ONE, "alpha", NO_METADATA)
    row = journal.record_receipt(row, receipt(row, ReceiptState.INCLUDED))
    assert (row.reference, row.attempts) == ("tx-1", ())
    row = journal.record_dropped(row)
    assert (row.state, row.receipt, row.reference) == (JournalState.QUEUED, None, None)
    row = journal.record_conflict(row, "nothing was prepared")
    assert row.earlier == ()


def test_an_error_keeps_the_state_and_the_next_success_clears_it(journal):
    row = journal.enqueue(ONE, "alpha", NO_METADATA)
    row = journal.record_error(row, f"one line\r\n\x1b[31m of {'many ' * 1000}")
    assert row.state is JournalState.QUEUED
    assert row.error is not None
    assert row.error.isprintable()
    assert len(row.error) <= 500
    assert journal.record_prepared(row, prepared(row)).error is None


def test_a_dropped_anchor_keeps_its_bytes_and_loses_its_receipt(journal):
    row = journal.enqueue(ONE, "alpha", NO_METADATA)
    row = journal.record_receipt(journal.record_prepared(row, prepared(row)), receipt(row, ReceiptState.INCLUDED))
    row = journal.record_dropped(row)
    assert (row.state, row.receipt, row.prepared, row.reference) == (
        JournalState.PREPARED,
        None,
        prepared(row),
        "tx-1",
    )


def test_rows_come_in_the_order_of_queueing_and_can_be_filtered(journal):
    filled(journal)
    ids = [row.id for row in journal.rows()]
    assert ids == sorted(ids)
    assert [(row.commitment, row.network) for row in journal.rows()] == [(ONE, "alpha"), (ONE, "beta"), (TWO, "alpha")]
    assert [row.network for row in journal.rows(commitment=ONE)] == ["alpha", "beta"]
    assert [row.commitment for row in journal.rows(network="alpha")] == [ONE, TWO]
    assert [row.commitment for row in journal.rows(only_open=True)] == [ONE, TWO]
    assert [row.commitment for row in journal.rows(network="alpha", only_open=True)] == [TWO]


def test_metadata_that_json_cannot_carry_is_refused_before_anything_is_stored(journal):
    with pytest.raises(FormatError):
        journal.enqueue(ONE, "alpha", {"loss": float("nan")})
    assert not journal.path.exists()


# Where it is kept.


def test_every_file_is_private_whatever_the_umask(journal):
    before = os.umask(0)
    try:
        journal.enqueue(ONE, "alpha", NO_METADATA)
        with closing(sqlite3.connect(journal.path)) as reader:  # keeps -wal and -shm from being cleaned up
            reader.execute("SELECT * FROM anchors").fetchone()
            journal.enqueue(TWO, "alpha", NO_METADATA)
            with journal.exclusive("alpha", 1):
                modes = {path.name: path.stat().st_mode & 0o777 for path in journal.path.parent.iterdir()}
    finally:
        os.umask(before)
    names = {"journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm", "journal.lock", "journal.alpha.lock"}
    assert modes == dict.fromkeys(names, 0o600)
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700


def test_it_is_durable_and_concurrent(journal):
    journal.enqueue(ONE, "alpha", NO_METADATA)
    with closing(sqlite3.connect(journal.path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with journal._connection() as database:
        assert database.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL: a commit survives a power cut


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "fifo"])
def test_what_is_planted_at_its_place_is_neither_followed_nor_opened(journal, tmp_path, kind):
    target = tmp_path / "precious"
    journal.path.parent.mkdir()
    if kind == "folder":
        journal.path.mkdir()
    elif kind == "fifo":
        os.mkfifo(journal.path)
    else:
        journal.path.symlink_to(target)
    if kind == "link":
        target.write_bytes(b"precious")
    for attempt in (journal.rows, lambda: journal.enqueue(ONE, "alpha", NO_METADATA)):
        with pytest.raises(StorageError, match="is not a regular file"):
            attempt()
    assert target.exists() is (kind == "link")


def test_a_file_in_the_folders_place_is_told(tmp_path):
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file")
    for attempt in (
        journal.rows,
        lambda: journal.enqueue(ONE, "alpha", NO_METADATA),
        lambda: journal.exclusive("alpha", 1).__enter__(),
    ):
        with pytest.raises(StorageError, match=r"Not a directory|File exists"):
            attempt()


def test_a_folder_with_odd_characters_is_no_address_syntax(tmp_path):
    journal = filled(Journal(tmp_path / "50% of ?mode=ro&x#y"))
    assert len(journal.rows()) == 3


needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="no user namespaces here",
)


def run_on_mount(mount: str, program: str, folder: Path) -> list[str]:
    """Run a Python program with its folder on a mount of its own; return the lines it printed."""
    command = f'{mount} && exec "$1" -c "$2" "$3"'
    prelude = """
        import sys
        from pathlib import Path
        from mrv_core.errors import MrvError
        from mrv_core.hashing import Digest
        from mrv_core.journal import Journal
        journal = Journal(Path(sys.argv[1]))
    """
    source = textwrap.dedent(prelude) + textwrap.dedent(program)
    arguments = ["unshare", "-rm", "sh", "-ec", command, "sh", sys.executable, source, str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


READ_ONLY = 'mount --bind "$3" "$3" && mount -o remount,ro,bind "$3"'


@needs_mounts
def test_a_read_only_copy_can_be_read_and_is_not_written(journal):
    filled(journal)
    program = """
        print(*[row.state for row in journal.rows()])
        try:
            journal.enqueue(Digest("sha256", bytes(32)), "alpha", {})
        except MrvError as error:
            print(type(error).__name__, error.hint)
    """
    told = run_on_mount(READ_ONLY, program, journal.path.parent)
    assert told == [
        "final prepared queued",
        "StorageError the folder or the file cannot be written; check their permissions",
    ]


@needs_mounts
def test_a_read_only_copy_without_its_last_changes_is_refused(journal, tmp_path):
    filled(journal)
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(journal.path)) as reader:
        reader.execute("SELECT * FROM anchors").fetchone()
        journal.enqueue(TWO, "beta", NO_METADATA)
        shutil.copytree(journal.path.parent, copy)
    program = """
        try:
            journal.rows()
        except MrvError as error:
            print(type(error).__name__, error.hint)
    """
    assert run_on_mount(READ_ONLY, program, copy) == ["StorageError copy the folder to where it can be written"]
    assert len(Journal(copy).rows()) == 4


@needs_mounts
def test_a_full_disk_stores_nothing_and_says_so(tmp_path):
    program = """
        stored = 0
        try:
            while True:
                journal.enqueue(Digest("sha256", stored.to_bytes(32, "big")), "alpha", {})
                stored += 1
        except MrvError as error:
            print(type(error).__name__, "free space" in error.hint)
        Path(sys.argv[1], "filler").unlink()
        print(stored, stored == len(journal.rows()))
    """
    mount = 'mount -t tmpfs -o size=256k none "$3" && head -c 100000 /dev/zero > "$3/filler"'
    told = run_on_mount(mount, program, tmp_path)
    assert told[0] == "StorageError True"
    stored, kept_all = told[1].split()
    assert int(stored) > 0
    assert kept_all == "True"


# Damage.


def test_rows_edited_by_hand_are_refused_by_their_number(journal):
    filled(journal)
    for statement in (
        "UPDATE anchors SET state = 'final' WHERE id = 2",
        "UPDATE anchors SET receipt = (SELECT receipt FROM anchors WHERE id = 1) WHERE id = 2",
        "UPDATE anchors SET network = 'gamma' WHERE id = 2",
        "UPDATE anchors SET metadata = 'text' WHERE id = 2",
        "UPDATE anchors SET error = 7 WHERE id = 2",
        "UPDATE anchors SET commitment = CAST(commitment AS BLOB) WHERE id = 2",
        "UPDATE anchors SET checksum = x'00' WHERE id = 2",
    ):
        copy = Journal(Path(shutil.copytree(journal.path.parent, journal.path.parent.with_name("copy"))))
        edit(copy, statement)
        with pytest.raises(StorageError, match="row 2 is damaged") as failure:
            copy.rows()
        assert "docs/journal.md" in failure.value.hint
        assert [row.state for row in copy.rows(network="alpha")] == [JournalState.FINAL, JournalState.QUEUED]
        shutil.rmtree(copy.path.parent)


def test_earlier_attempts_edited_by_hand_are_refused_by_their_row(journal):
    filled(journal)
    for statement in (
        "UPDATE attempts SET prepared = (SELECT prepared FROM anchors WHERE id = 2) WHERE id = 1",
        "UPDATE attempts SET prepared = 'text' WHERE id = 1",
        "UPDATE attempts SET ended = 'never' WHERE id = 2",
        "UPDATE attempts SET ended = x'00' WHERE id = 2",
        "UPDATE attempts SET ended_at = '2026-01-01T00:00:00Z' WHERE id = 1",
        "UPDATE attempts SET checksum = x'00' WHERE id = 2",
    ):
        copy = Journal(Path(shutil.copytree(journal.path.parent, journal.path.parent.with_name("copy"))))
        edit(copy, statement)
        with pytest.raises(StorageError, match="an earlier attempt of row 3 is damaged") as failure:
            copy.rows()
        assert "docs/journal.md" in failure.value.hint
        assert [row.id for row in copy.rows(commitment=ONE)] == [1, 2]
        with pytest.raises(StorageError, match="an earlier attempt of row 3 is damaged"):
            copy.find(TWO, "alpha")
        shutil.rmtree(copy.path.parent)
    edit(journal, "UPDATE attempts SET anchor = 2 WHERE id = 1")
    with pytest.raises(StorageError, match="an earlier attempt of row 2 is damaged"):
        journal.rows()


def test_earlier_attempts_of_a_row_that_is_gone_are_not_taken_for_those_of_another(journal):
    """The number of a deleted row is given again."""
    filled(journal)
    edit(journal, "DELETE FROM anchors WHERE id = 3")
    with pytest.raises(StorageError, match="an earlier attempt of row 3 is of another anchor"):
        journal.rows()
    with pytest.raises(StorageError, match="an earlier attempt of row 3 is of another anchor"):
        journal.enqueue(commitment_of("three"), "alpha", NO_METADATA)
    with pytest.raises(StorageError, match="an earlier attempt of row 3 is of another anchor"):
        journal.rows()


def test_rows_that_have_changed_places_are_found(journal):
    filled(journal)
    edit(journal, "UPDATE anchors SET id = CASE id WHEN 3 THEN 9 WHEN 1 THEN 8 ELSE id END")
    edit(journal, "UPDATE anchors SET id = CASE id WHEN 9 THEN 1 WHEN 8 THEN 3 ELSE id END")
    with pytest.raises(StorageError, match="an earlier attempt of row 3 is of another anchor"):
        journal.rows()


def test_a_damaged_row_is_not_overwritten(journal):
    row = filled(journal).find(ONE, "beta")
    edit(journal, "UPDATE anchors SET error = 'edited' WHERE id = ?", row.id)
    with pytest.raises(StorageError, match=f"row {row.id} is damaged"):
        journal.record_receipt(row, receipt(row, ReceiptState.FINAL))
    with pytest.raises(StorageError, match=f"row {row.id} is damaged"):
        journal.enqueue(ONE, "beta", NO_METADATA)


def test_a_row_that_is_gone_is_told(journal):
    row = filled(journal).find(ONE, "beta")
    edit(journal, "DELETE FROM anchors WHERE id = ?", row.id)
    with pytest.raises(StorageError, match=f"row {row.id} is gone"):
        journal.record_error(row, "why")


def outcome(journal: Journal) -> object:
    """Return what a damaged journal says: its rows, or None where it says that it is damaged."""
    try:
        return journal.rows()
    except StorageError as error:
        return None if error.hint and error.message.isprintable() else error


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_no_flipped_byte_changes_what_is_read_or_queues_anything_twice(journal, tmp_path, flip):
    """Every third byte that is not empty space, each time followed by anchoring the same things again."""
    rows = filled(journal).rows()
    data = journal.path.read_bytes()
    damaged, detected, places = (
        Journal(tmp_path / "damaged"),
        0,
        [i for i, byte in enumerate(data) if byte][flip % 3 :: 3],
    )
    damaged.path.parent.mkdir()
    for place in places:
        damaged.path.write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
        damaged = Journal(damaged.path.parent)
        found = outcome(damaged)
        detected += found is None
        assert found in (None, rows), f"byte {place}"
        if found is None:
            continue
        for row in rows:
            try:
                damaged.enqueue(row.commitment, row.network, NO_METADATA)
            except StorageError:
                break
        assert outcome(damaged) in (None, rows), f"byte {place}"
    assert detected > len(places) / 2, "most of the file matters, so most flips must be found"


def test_every_truncation_is_found(journal, tmp_path):
    row = filled(journal).rows()[0]
    journal.record_conflict(journal.record_prepared(row, prepared(row)), "x" * 500)
    rows, data = journal.rows(), journal.path.read_bytes()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    lengths = [*range(0, len(data), 509), len(data) - 1]
    found = []
    for length in lengths:
        (damaged / journal.path.name).write_bytes(data[:length])
        found.append(outcome(Journal(damaged)))
        assert found[-1] in (None, rows), f"{length} bytes"
    # A page fills from its end, so what is cut off the last one is content; its beginning is empty space.
    assert found.count(None) == len(lengths), "every cut must be found"


def test_a_torn_write_ahead_log_shows_an_earlier_state_or_says_that_it_is_damaged(journal, tmp_path):
    """SQLite drops what a power cut tore off; nothing in between is ever read."""
    states = [[]]
    row = journal.enqueue(ONE, "alpha", NO_METADATA)
    with closing(sqlite3.connect(journal.path)) as reader:
        reader.execute("SELECT * FROM anchors").fetchone()
        states.append(journal.rows())
        row = journal.record_prepared(row, prepared(row))
        states.append(journal.rows())
        row = journal.record_replacement(row, prepared(row, "2"), "outbid")
        states.append(journal.rows())
        journal.record_receipt(row, receipt(row, ReceiptState.FINAL))
        states.append(journal.rows())
        data, log = (Path(f"{journal.path}{end}").read_bytes() for end in ("", "-wal"))
    seen = []
    for length in [*range(0, len(log), 257), len(log)]:
        torn = tmp_path / f"torn-{length}"
        torn.mkdir()
        (torn / journal.path.name).write_bytes(data)
        (torn / f"{journal.path.name}-wal").write_bytes(log[:length])
        found = outcome(Journal(torn))
        assert found in states
        seen.append(states.index(found))
    assert seen == sorted(seen)
    assert len(set(seen)) >= 4, "the cuts must fall between different commits"


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"not a database, but long enough to look at" * 10])
def test_another_file_in_its_place_is_not_taken_for_an_empty_journal(journal, content):
    journal.path.parent.mkdir()
    journal.path.write_bytes(content)
    for attempt in (journal.rows, lambda: journal.enqueue(ONE, "alpha", NO_METADATA)):
        with pytest.raises(StorageError, match=r"not an intact journal|not a database"):
            attempt()
    assert journal.path.read_bytes() == content


@pytest.mark.parametrize("version", [0, -1])
def test_a_file_without_its_version_is_not_intact(journal, version):
    filled(journal)
    edit(journal, f"PRAGMA user_version = {version}")
    with pytest.raises(StorageError, match="not an intact journal"):
        journal.rows()


def test_a_newer_format_is_refused_with_the_way_out(journal):
    filled(journal)
    edit(journal, "PRAGMA user_version = 3")
    with pytest.raises(StorageError, match=r"format version 3 is newer than this program knows \(2\)") as failure:
        journal.rows()
    assert failure.value.hint == "upgrade mrv-provenance"


# Version 1, as it was written before there were earlier attempts.

V1_TABLE = """
CREATE TABLE anchors (
    id INTEGER PRIMARY KEY,
    commitment TEXT NOT NULL,
    network TEXT NOT NULL,
    metadata BLOB NOT NULL,
    state TEXT NOT NULL,
    prepared BLOB,
    receipt BLOB,
    error TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (commitment, network)
)
""".strip()


def v1_checksum(*fields: str | bytes | None) -> bytes:
    parts = []
    for field in fields:
        kind = b"\0" if field is None else b"\1" if isinstance(field, str) else b"\2"
        content = field.encode() if isinstance(field, str) else field
        parts.append(kind if content is None else kind + len(content).to_bytes(8, "big") + content)
    return hashlib.sha256(b"".join(parts)).digest()


@pytest.fixture
def old_journal(journal: Journal) -> Journal:
    """A journal as version 1 left it: one final row, one prepared."""
    fields = {"commitment": ONE, "payload_hex": "abcd", "reference": "tx-1"}
    first, second = (Prepared(network=name, **fields).to_bytes() for name in ("alpha", "beta"))
    values = {"reference": "tx-1", "driver": "memory", "network_id": "m", "embedded": True}
    final = Receipt(network="alpha", commitment=ONE, state=ReceiptState.FINAL, submitted_at=utc_now(), **values)
    times = ("2026-11-22T08:00:00Z", "2026-11-22T08:00:01Z")
    rows = [
        (str(ONE), "alpha", b'{"run_id":"run-1"}', "final", first, final.to_bytes(), None, *times),
        (str(ONE), "beta", b"{}", "prepared", second, None, "not reachable", *times),
    ]
    journal.path.parent.mkdir()
    with closing(sqlite3.connect(journal.path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(V1_TABLE)
        database.execute("PRAGMA user_version = 1")
        for number, row in enumerate(rows, 1):
            values = (number, *row, v1_checksum(*row))
            database.execute("INSERT INTO anchors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        database.commit()
    return journal


def version_of(journal: Journal) -> int:
    with closing(sqlite3.connect(journal.path)) as database:
        return database.execute("PRAGMA user_version").fetchone()[0]


def test_a_journal_of_version_1_is_read_as_it_is(old_journal):
    before = old_journal.path.read_bytes()
    rows = old_journal.rows()
    assert [(row.state, row.reference, row.earlier, row.error) for row in rows] == [
        (JournalState.FINAL, "tx-1", (), None),
        (JournalState.PREPARED, "tx-1", (), "not reachable"),
    ]
    assert [row.network for row in old_journal.rows(run_id="run-1")] == ["alpha"]
    assert (old_journal.path.read_bytes(), version_of(old_journal)) == (before, 1)


def test_a_journal_of_version_1_is_brought_up_to_date_by_the_first_write(old_journal):
    before = old_journal.rows()
    row = old_journal.find(ONE, "beta")
    row = old_journal.record_replacement(row, prepared(row, "2"), "outbid")
    assert [attempt.prepared for attempt in row.earlier] == [before[1].prepared]
    assert version_of(old_journal) == 2
    again = Journal(old_journal.path.parent)
    assert again.rows() == [before[0], row]
    assert again.enqueue(TWO, "beta", NO_METADATA).id == 3


def test_a_write_that_fails_leaves_version_1(old_journal):
    row = old_journal.find(ONE, "beta")
    edit(old_journal, "DELETE FROM anchors WHERE id = ?", row.id)
    with pytest.raises(StorageError, match=f"row {row.id} is gone"):
        old_journal.record_error(row, "why")
    assert version_of(old_journal) == 1
    assert len(old_journal.rows()) == 1


def test_an_older_object_goes_on_after_another_process_has_brought_it_up_to_date(old_journal):
    assert len(old_journal.rows()) == 2
    Journal(old_journal.path.parent).enqueue(TWO, "beta", NO_METADATA)
    row = old_journal.record_conflict(old_journal.find(ONE, "beta"), "why")
    assert len(row.earlier) == 1


def test_threads_bring_one_journal_up_to_date_once(old_journal):
    threads = [
        threading.Thread(
            target=Journal(old_journal.path.parent).enqueue, args=(commitment_of(str(i)), "alpha", NO_METADATA)
        )
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(old_journal.rows()), version_of(old_journal)) == (10, 2)


@needs_mounts
def test_a_read_only_journal_of_version_1_can_be_read(old_journal):
    program = """
        print(*[row.state for row in journal.rows()])
        try:
            journal.enqueue(Digest("sha256", bytes(32)), "alpha", {})
        except MrvError as error:
            print(type(error).__name__, error.hint)
    """
    told = run_on_mount(READ_ONLY, program, old_journal.path.parent)
    assert told == ["final prepared", "StorageError the folder or the file cannot be written; check their permissions"]
    assert version_of(old_journal) == 1


@pytest.mark.parametrize(
    ("version", "statement"),
    [
        (1, "CREATE TABLE attempts (id INTEGER PRIMARY KEY)"),
        (2, "SELECT 1"),
        (2, "CREATE TABLE attempts (id INTEGER PRIMARY KEY)"),
        (2, "CREATE TABLE other (id INTEGER PRIMARY KEY)"),
    ],
)
def test_tables_that_are_not_those_of_the_version_are_refused(old_journal, version, statement):
    edit(old_journal, f"PRAGMA user_version = {version}")
    edit(old_journal, statement)
    with pytest.raises(StorageError, match="not an intact journal"):
        old_journal.rows()


def test_bytes_of_version_1_that_flip_are_found(old_journal, tmp_path):
    rows, data = old_journal.rows(), old_journal.path.read_bytes()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    places = [i for i, byte in enumerate(data) if byte][::7]
    outcomes = []
    for place in places:
        (damaged / old_journal.path.name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        outcomes.append(outcome(Journal(damaged)))
        assert outcomes[-1] in (None, rows), f"byte {place}"
    assert outcomes.count(None) > len(places) / 2


# Together.


def test_a_locked_journal_is_told_after_a_bounded_wait_and_can_still_be_read(journal):
    filled(journal)
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked") as failure:
            journal.enqueue(TWO, "beta", NO_METADATA)
        assert failure.value.hint == "another process is writing; try again"
        assert len(journal.rows()) == 3
    assert journal.enqueue(TWO, "beta", NO_METADATA).state is JournalState.QUEUED


def test_creating_waits_a_bounded_time_for_another_process(journal):
    with journal._file_lock("journal.lock", 1), pytest.raises(StorageError, match="another process has been creating"):
        journal.enqueue(ONE, "alpha", NO_METADATA)
    assert not journal.path.exists()


@pytest.mark.parametrize(
    ("name", "attempt"),
    [
        ("journal.lock", lambda journal: journal.enqueue(ONE, "alpha", NO_METADATA)),
        ("journal.alpha.lock", lambda journal: journal.exclusive("alpha", 1).__enter__()),
    ],
)
def test_a_lock_that_cannot_be_taken_is_told(journal, name, attempt):
    (journal.path.parent / name).mkdir(parents=True)
    with pytest.raises(StorageError, match=f"cannot lock .*/{name}: "):
        attempt(journal)


def test_a_failed_creation_leaves_nothing_behind(journal, monkeypatch):
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError, match=r"cannot create .*: No space left on device"):
        journal.enqueue(ONE, "alpha", NO_METADATA)
    assert [path.name for path in journal.path.parent.iterdir()] == ["journal.lock"]


def test_a_file_too_large_for_the_process_is_told_in_creation(journal):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(StorageError, match=r"journal .*: disk I/O error"):
            journal.enqueue(ONE, "alpha", NO_METADATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not journal.path.exists()
    assert journal.enqueue(ONE, "alpha", NO_METADATA).state is JournalState.QUEUED


class NoWriteAheadLog(sqlite3.Connection):
    """A file system on which SQLite stays in another journal mode, and says so only in the pragma's answer."""

    def execute(self, statement, *values):
        return super().execute(statement.replace("journal_mode = WAL", "journal_mode = DELETE"), *values)


def test_a_file_system_without_write_ahead_log_is_refused(journal, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=NoWriteAheadLog, **kwargs))
    with pytest.raises(StorageError, match=r"does not support write-ahead logging \(mode delete\)") as failure:
        journal.enqueue(ONE, "alpha", NO_METADATA)
    assert "local disk" in failure.value.hint
    assert not journal.path.exists()


def test_the_networks_lock_keeps_others_out_and_other_networks_in(journal):
    with journal.exclusive("alpha", 1):
        with pytest.raises(BackendUnavailableError, match="alpha: another process has been anchoring") as failure:
            journal.exclusive("alpha", 0).__enter__()
        assert failure.value.retryable
        with journal.exclusive("beta", 0):
            pass
    with journal.exclusive("alpha", 0):
        pass


def test_processes_that_start_together_make_one_journal(tmp_path):
    """Several processes create the file, and all queue the same things and something of their own."""
    with fork_server() as server:
        for attempt in range(5):
            base = tmp_path / str(attempt)
            jobs = [
                {"base": str(base), "networks": {"alpha": {}}, "enqueue": ["same", f"own {number}", "same 2"]}
                for number in range(6)
            ]
            assert server.run(*jobs) == [0] * 6
            assert len(Journal(base).rows()) == 8
            assert not list(base.glob(".journal-*"))


def test_threads_share_one_journal(journal):
    patient = Journal(journal.path.parent)
    threads = [
        threading.Thread(target=patient.enqueue, args=(commitment_of(str(i % 8)), "alpha", NO_METADATA))
        for i in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(patient.rows()) == 8
