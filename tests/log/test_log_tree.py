# SPDX-License-Identifier: MIT
"""The tree in SQLite is the tree of RFC 9162, at every size, with every proof."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrv_backends_log.store import LogStore
from mrv_core.errors import BackendUnavailableError
from mrv_core.merkle import EMPTY_ROOT, LogTree, leaf_hash, verify_consistency, verify_inclusion


def append_all(store: LogStore, entries: list[bytes]) -> None:
    for entry in entries:
        with store.writing() as log:
            log.append(leaf_hash(entry), entry, "2026-01-11T08:00:00Z")


def new_store(path: Path) -> LogStore:
    store = LogStore(path, 5)
    store.create()
    store.create()  # once more changes nothing
    return store


def test_every_root_and_path_up_to_70_entries_equals_the_tree_in_memory(tmp_path: Path) -> None:
    store, tree = new_store(tmp_path / "log.sqlite3"), LogTree()
    for number in range(70):
        entry = f"entry {number}".encode()
        append_all(store, [entry])
        tree.append(entry)
        with store.reading() as log:
            assert log.size == tree.size
            assert [log.root(size) for size in range(tree.size + 1)] == [tree.root(n) for n in range(tree.size + 1)]
            assert log.inclusion_path(number, tree.size) == tuple(tree.inclusion_proof(number))
    with store.reading() as log:
        for size in range(1, 71):
            for index in range(size):
                assert log.inclusion_path(index, size) == tuple(tree.inclusion_proof(index, size))


@given(
    entries=st.lists(st.binary(max_size=20), min_size=1, max_size=40, unique=True),
    data=st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_proofs_from_the_file_verify(tmp_path: Path, entries: list[bytes], data: st.DataObject) -> None:
    path = tmp_path / "log.sqlite3"
    path.unlink(missing_ok=True)
    store, tree = new_store(path), LogTree(entries)
    append_all(store, entries)
    size = data.draw(st.integers(1, len(entries)))
    index = data.draw(st.integers(0, size - 1))
    with store.reading() as log:
        verify_inclusion(leaf_hash(entries[index]), index, size, log.inclusion_path(index, size), log.root(size))
        verify_consistency(size, log.size, log.root(size), log.root(log.size), tree.consistency_proof(size))
        found = log.find(leaf_hash(entries[index]))
        assert found is not None
        assert (found.index, found.entry) == (index, entries[index])


def test_an_empty_log_has_the_empty_root(tmp_path: Path) -> None:
    with new_store(tmp_path / "log.sqlite3").reading() as log:
        assert (log.size, log.root(0), log.latest_checkpoint_size()) == (0, EMPTY_ROOT, 0)
        assert log.find(bytes(32)) is None


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path / "log.sqlite3")

    def fail_after_appending() -> None:
        with store.writing() as log:
            log.append(leaf_hash(b"entry"), b"entry", "2026-01-11T08:00:00Z")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_appending()
    with store.reading() as log:
        assert log.size == 0
    assert [path.name for path in tmp_path.iterdir()] == ["log.sqlite3"]


def test_reading_a_log_that_is_not_there_creates_nothing(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "missing" / "log.sqlite3", 5)
    with pytest.raises(BackendUnavailableError, match="not there"), store.reading():
        pass
    with pytest.raises(BackendUnavailableError, match="not there"), store.writing():
        pass
    assert list(tmp_path.iterdir()) == []
