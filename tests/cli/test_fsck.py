# SPDX-License-Identifier: MIT
"""`mrv fsck`, `mrv flush --wait` and the attempts in `mrv status`, as somebody at a terminal meets them."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mrv_cli.waiting import waiting_line
from mrv_core.journal import Journal, JournalState
from mrv_core.manager import BlockchainManager
from mrv_core.testing.memory import MemoryChain

from .conftest import Mrv, configure, network

JOURNAL = Path("artifacts/journal.sqlite3")


def chain(name: str = "alpha") -> MemoryChain:
    return MemoryChain(Path("artifacts/networks", name), name)


def edit(statement: str) -> None:
    with closing(sqlite3.connect(JOURNAL)) as database:
        database.execute(statement)
        database.commit()


def test_all_right(mrv: Mrv, run_folder: Path) -> None:
    shown = mrv("fsck").out
    assert shown.count("ok  ") == 3
    assert "alpha: final" in shown
    report = mrv("fsck", "--json").json
    assert (report["format"], report["file"], report["problems"]) == ("mrv-fsck/1", "ok", [])
    assert [(row["network"], row["finding"], row["state"]) for row in report["rows"]] == [
        ("alpha", "ok", "final"),
        ("beta", "ok", "final"),
    ]


def test_a_deleted_journal(mrv: Mrv, run_folder: Path) -> None:
    JOURNAL.unlink()
    shown = mrv("fsck").out
    assert shown.count("repaired  ") == 3
    assert "there is no journal" in shown
    assert mrv("flush", "--json").json == {"open_before": 0, "left": []}
    assert chain().count(Journal(Path("artifacts")).rows()[0].commitment) == 1


def test_a_damaged_journal_is_told_everywhere_with_the_way_out(mrv: Mrv, run_folder: Path) -> None:
    edit("UPDATE anchors SET error = 'edited' WHERE id = 1")
    assert "mrv fsck --rebuild" in mrv("status", expect=4).err
    told = mrv("fsck", expect=1)
    assert "row 1 is damaged" in told.out
    assert "mrv fsck --rebuild" in told.err
    done = mrv("fsck", "--rebuild")
    assert f"the damaged journal is kept as {JOURNAL}.damaged-1" in done.err
    assert JOURNAL.with_name("journal.sqlite3.damaged-1").exists()
    mrv("fsck")
    mrv("verify", run_folder)


def test_wrong_comes_before_could_not_check(mrv: Mrv, run_folder: Path) -> None:
    chain().reorg(1, keep=False)
    configure(alpha=network(), beta=network(attests_time=False, retry_attempts=1, fail={"upgrade": ["unavailable"]}))
    report = mrv("fsck", "--json", expect=1).json
    assert [row["finding"] for row in report["rows"]] == ["wrong", "could not check"]
    configure(alpha=network(), beta=network(attests_time=False))
    assert "'mrv flush' sends it again" in mrv("fsck", "--rebuild").out
    mrv("flush")
    mrv("verify", run_folder)


def test_a_network_that_is_gone(mrv: Mrv, run_folder: Path) -> None:
    configure(beta=network(attests_time=False))
    assert "the network is not configured" in mrv("fsck", expect=4).out


def test_receipts_found_go_into_the_run_folder(mrv: Mrv) -> None:
    settings = {"retry_attempts": 1, "searches": True}
    configure(alpha=network(**settings, fail={"submit": ["lost_reply"]}))
    mrv("anchor", "dataset", "--name", "late", expect=4)
    (anchor_file,) = Path("artifacts/late/anchors").iterdir()
    assert json.loads(anchor_file.read_bytes())["receipts"] == {}
    configure(alpha=network(**settings))
    JOURNAL.unlink()
    mrv("fsck", "--rebuild")
    assert set(json.loads(anchor_file.read_bytes())["receipts"]) == {"alpha"}
    mrv("verify", "artifacts/late")


def test_without_an_artifacts_folder(mrv: Mrv) -> None:
    assert "there is no artifacts folder" in mrv("fsck", expect=2).err
    Path("artifacts").mkdir()
    mrv("fsck")
    assert not JOURNAL.exists()


# Waiting.


def test_flush_waits_until_all_is_final(mrv: Mrv, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network mines a block whenever somebody waits."""
    configure(alpha=network(instant_mining=False, finality_depth=3))
    mrv("anchor", "dataset", "--name", "slow", expect=3)
    slept: list[float] = []

    def mine(seconds: float) -> None:
        slept.append(seconds)
        chain().mine()

    monkeypatch.setitem(BlockchainManager.__init__.__kwdefaults__, "sleep", mine)
    done = mrv("flush", "--wait", "600")
    assert slept == [0.25, 0.375, 0.5625]
    assert [line for line in done.err.splitlines() if line.startswith("waiting")] == [
        "waiting: alpha 1 submitted",
        "waiting: alpha 1 included",
    ]
    assert "1 anchors were open, 0 still are" in done.err
    assert [row.state for row in Journal(Path("artifacts")).rows()] == [JournalState.FINAL]
    mrv("verify", "artifacts/slow")


def test_flush_does_not_wait_for_ever(mrv: Mrv) -> None:
    configure(alpha=network(instant_mining=False))
    mrv("anchor", "dataset", expect=3)
    assert "waiting: alpha 1 submitted" in mrv("flush", "--wait", "0.3", expect=3).err
    assert "waiting" not in mrv("flush", "--json", expect=3).err
    assert "'--wait'" in mrv("flush", "--wait", "-1", expect=2).err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_changes_and_disappears(mrv: Mrv, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(alpha=network(instant_mining=False))
    mrv("anchor", "dataset", expect=3)
    rows, terminal = Journal(Path("artifacts")).rows(), Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with waiting_line(1) as show:
        assert show is not None
        show(rows)
        show([])
    assert terminal.getvalue() == "\r\x1b[Kwaiting: alpha 1 submitted\r\x1b[K\r\x1b[K"
    with waiting_line(0) as show:
        assert show is None


# Attempts.


def test_status_shows_every_attempt(mrv: Mrv) -> None:
    configure(alpha=network(instant_mining=False, replaces=True))
    mrv("anchor", "dataset", "--name", "stuck", expect=3)
    chain().set_fees(mining=10)
    chain().mine()
    mrv("flush", expect=3)
    (row,) = Journal(Path("artifacts")).rows()
    (place,) = mrv("status", "artifacts/stuck", "--json").json["runs"][0]["anchors"][0]["networks"].values()
    assert [attempt["reference"] for attempt in place["attempts"]] == [item.reference for item in row.attempts[::-1]]
    assert [attempt["ended"] for attempt in place["attempts"]] == [f"outbid by {row.reference}", None]
    assert place["attempts"][0]["ended_at"].endswith("Z")
    old = row.earlier[0].prepared.reference
    assert f"another attempt {old}: outbid by {row.reference}" in mrv("status", "artifacts/stuck").out
    assert [len(left["attempts"]) for left in mrv("flush", "--json", expect=3).json["left"]] == [2]
