# SPDX-License-Identifier: MIT
"""The log tree against the recursive definition of RFC 9162."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.merkle import (
    EMPTY_ROOT,
    MAX_TREE_SIZE,
    Frontier,
    LogTree,
    check_hashes,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

SIZES = range(131)
ENTRIES = [str(i).encode() * (i % 3) for i in range(300)]
TREE = LogTree(ENTRIES)

sizes = st.integers(1, 300)


def test_hashes_are_those_of_the_standard() -> None:
    assert leaf_hash(b"x") == oracles.sha256(b"\x00x")
    assert node_hash(b"l" * 32, b"r" * 32) == oracles.sha256(b"\x01" + b"l" * 32 + b"r" * 32)
    assert oracles.sha256(b"") == EMPTY_ROOT


def test_every_root_equals_the_oracle() -> None:
    frontier, grown = Frontier(), LogTree()
    for size in SIZES:
        expected = oracles.mth(ENTRIES[:size])
        assert TREE.root(size) == grown.root() == frontier.root() == tree_root(ENTRIES[:size]) == expected
        assert LogTree(ENTRIES[:size]).root() == expected
        assert frontier.size == grown.size == size
        assert frontier.append(ENTRIES[size]) == grown.append(ENTRIES[size]) == size


def test_every_inclusion_proof_equals_the_oracle_and_verifies() -> None:
    for size in SIZES:
        for index in range(size):
            path = TREE.inclusion_proof(index, size)
            assert path == oracles.path(index, ENTRIES[:size])
            verify_inclusion(leaf_hash(ENTRIES[index]), index, size, path, TREE.root(size))


def test_every_consistency_proof_equals_the_oracle_and_verifies() -> None:
    for size2 in SIZES:
        for size1 in range(1, size2 + 1):
            path = TREE.consistency_proof(size1, size2)
            assert path == oracles.proof(size1, ENTRIES[:size2])
            verify_consistency(size1, size2, TREE.root(size1), TREE.root(size2), path)


@given(st.lists(st.binary(max_size=40), max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_entries_however_they_are_added(entries: list[bytes], cuts: list[int]) -> None:
    tree, start = LogTree(), 0
    for i, end in enumerate([*sorted(cuts), len(entries)]):
        piece = entries[start:end]
        if i % 2:
            tree.extend(piece)
        else:
            for entry in piece:
                tree.append_leaf(leaf_hash(entry))
        start = max(start, end)
    assert tree.size == len(entries)
    assert tree.root() == tree_root(entries) == oracles.mth(entries)
    assert [tree.leaf(i) for i in range(tree.size)] == list(map(leaf_hash, entries))


@given(st.data(), sizes)
def test_no_other_leaf_index_or_root_verifies(data: st.DataObject, size: int) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    path, root = TREE.inclusion_proof(index, size), TREE.root(size)
    if other == index:
        verify_inclusion(leaf_hash(ENTRIES[index]), index, size, path, root)
        return
    with pytest.raises(VerificationError):  # another place, with a path that fits or not
        verify_inclusion(leaf_hash(ENTRIES[index]), other, size, path, root)
    with pytest.raises(RootMismatchError):  # another leaf in this place
        verify_inclusion(leaf_hash(b"other" + ENTRIES[other]), index, size, path, root)
    with pytest.raises(RootMismatchError):
        verify_inclusion(leaf_hash(ENTRIES[index]), index, size, path, TREE.root(size - 1))


def damage(data: st.DataObject, path: list[bytes]) -> list[bytes]:
    """Return a path that differs from `path`: flipped bits, missing, extra, moved, repeated or cut hashes."""
    path = list(path)
    place = data.draw(st.integers(0, max(len(path) - 1, 0)))
    kinds = ["extra"] if not path else ["extra", "missing", "flip", "repeat", "short", "long"]
    match data.draw(st.sampled_from(kinds)):
        case "missing":
            del path[place]
        case "flip":
            bit = data.draw(st.integers(0, 255))
            path[place] = (int.from_bytes(path[place], "big") ^ 1 << bit).to_bytes(32, "big")
        case "repeat":
            path.insert(place, path[place])
        case "short":
            path[place] = path[place][:-1]
        case "long":
            path[place] += b"\x00"
        case _:
            path.insert(place, data.draw(st.binary(min_size=32, max_size=32)))
    return path


@settings(max_examples=300)
@given(st.data(), sizes)
def test_damaged_inclusion_proofs_never_verify(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = damage(data, TREE.inclusion_proof(index, size))
    with pytest.raises(VerificationError):
        verify_inclusion(leaf_hash(ENTRIES[index]), index, size, path, TREE.root(size))


@settings(max_examples=300)
@given(st.data(), sizes)
def test_damaged_consistency_proofs_never_verify(data: st.DataObject, size2: int) -> None:
    size1 = data.draw(st.integers(1, size2))
    path = damage(data, TREE.consistency_proof(size1, size2))
    with pytest.raises(VerificationError):
        verify_consistency(size1, size2, TREE.root(size1), TREE.root(size2), path)


@given(st.data(), sizes)
def test_a_log_that_was_rewritten_is_not_consistent(data: st.DataObject, size2: int) -> None:
    size1 = data.draw(st.integers(1, size2))
    changed = data.draw(st.integers(0, size1 - 1))
    forged = LogTree([*ENTRIES[:changed], b"forged", *ENTRIES[changed + 1 : size2]])
    with pytest.raises(VerificationError):
        verify_consistency(size1, size2, TREE.root(size1), forged.root(), forged.consistency_proof(size1))


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 40),
    st.integers(0, 40),
    st.lists(st.binary(min_size=32, max_size=32), max_size=7),
)
def test_verifier_accepts_what_the_definition_accepts(leaf: bytes, index: int, size: int, path: list[bytes]) -> None:
    expected = oracles.root_from_path(leaf, index, size, path)
    if expected is None:
        with pytest.raises(VerificationError):
            root_from_inclusion(leaf, index, size, path)
    else:
        assert root_from_inclusion(leaf, index, size, path) == expected


@given(st.integers(0, 40), st.integers(0, 40), st.lists(st.binary(min_size=32, max_size=32), max_size=7), st.data())
def test_consistency_verifier_accepts_what_the_definition_accepts(
    size1: int, size2: int, path: list[bytes], data: st.DataObject
) -> None:
    known = path[0] if path else b"\x01" * 32
    roots = oracles.roots_from_proof(size1, size2, path, known)
    if roots is None:
        with pytest.raises(VerificationError):
            verify_consistency(size1, size2, known, known, path)
        return
    verify_consistency(size1, size2, *roots, path)
    wrong = data.draw(st.integers(0, 1))
    with pytest.raises(RootMismatchError):
        verify_consistency(size1, size2, *(b"\xff" * 32 if i == wrong else root for i, root in enumerate(roots)), path)


def test_a_consistency_proof_of_larger_trees_is_too_long() -> None:
    """Hashes beyond the top, with roots that they lead to: the sizes, not the roots, say where the path ends."""
    for size1, size2 in ((3, 7), (4, 7), (1, 2), (5, 8), (8, 16)):
        path = [*TREE.consistency_proof(size1, size2), bytes(32)]
        for roots in (
            (TREE.root(size1), node_hash(TREE.root(size2), bytes(32))),
            (node_hash(bytes(32), TREE.root(size1)), node_hash(bytes(32), TREE.root(size2))),
        ):
            with pytest.raises(VerificationError, match="consistency path is too long"):
                verify_consistency(size1, size2, *roots, path)


def test_mismatch_names_both_roots() -> None:
    with pytest.raises(RootMismatchError, match="inclusion path leads to another root") as caught:
        verify_inclusion(leaf_hash(b"a"), 0, 1, [], b"\x01" * 32)
    assert (caught.value.expected, caught.value.computed) == ("01" * 32, leaf_hash(b"a").hex())


def call_inclusion(**changes: Any) -> None:
    good = {
        "leaf": leaf_hash(ENTRIES[4]),
        "index": 4,
        "size": 7,
        "path": TREE.inclusion_proof(4, 7),
        "root": TREE.root(7),
    }
    verify_inclusion(**(good | changes))


def call_consistency(**changes: Any) -> None:
    good = {"size1": 3, "size2": 7, "root1": TREE.root(3), "root2": TREE.root(7), "path": TREE.consistency_proof(3, 7)}
    verify_consistency(**(good | changes))


NOT_NUMBERS = [-1, MAX_TREE_SIZE + 1, 2**64, 10**5000, True, 4.0, "4", b"4", None]
NOT_HASHES = [b"", bytes(31), bytes(33), "00" * 32, bytearray(32), None, 0]


@pytest.mark.parametrize("call", [call_inclusion, call_consistency])
def test_malformed_values_are_wrong_evidence(call: Callable[..., None]) -> None:
    call()
    numbers, hashes = (
        (("index", "size"), ("leaf", "root")) if call is call_inclusion else (("size1", "size2"), ("root1", "root2"))
    )
    for name in numbers:
        for value in NOT_NUMBERS:
            with pytest.raises(VerificationError):
                call(**{name: value})
    for value in NOT_HASHES:
        for name in hashes:
            with pytest.raises(VerificationError):
                call(**{name: value})
        with pytest.raises(VerificationError, match="not 32 bytes"):
            call(path=[value])


def test_hashes_in_general() -> None:
    check_hashes([])
    check_hashes(iter([bytes(32)]))
    with pytest.raises(VerificationError, match="a hash is not 32 bytes"):
        check_hashes([bytes(32), bytes(31)])


@pytest.mark.parametrize(
    "ask",
    [
        lambda tree: tree.leaf(5),
        lambda tree: tree.leaf(-1),
        lambda tree: tree.root(6),
        lambda tree: tree.root(-1),
        lambda tree: tree.inclusion_proof(5),
        lambda tree: tree.inclusion_proof(-1),
        lambda tree: tree.inclusion_proof(3, 3),
        lambda tree: tree.inclusion_proof(0, 6),
        lambda tree: tree.inclusion_proof(0, 0),
        lambda tree: tree.consistency_proof(0),
        lambda tree: tree.consistency_proof(4, 3),
        lambda tree: tree.consistency_proof(1, 6),
        lambda tree: tree.consistency_proof(-1, 3),
    ],
)
def test_the_tree_answers_only_for_sizes_it_had(ask: Callable[[LogTree], object]) -> None:
    with pytest.raises(FormatError):
        ask(LogTree(ENTRIES[:5]))


def test_proofs_for_the_present_size() -> None:
    tree = LogTree(ENTRIES[:5])
    assert tree.inclusion_proof(2) == tree.inclusion_proof(2, 5)
    assert tree.consistency_proof(3) == tree.consistency_proof(3, 5)
    assert tree.consistency_proof(5) == []


def test_a_large_tree_stays_right() -> None:
    """Sizes beyond what the recursive oracle can do, by the verifiers that it has checked."""
    size = 100_003
    tree = LogTree(i.to_bytes(4, "big") for i in range(size))
    for index in (0, 1, 65_535, 65_536, size - 1):
        path = tree.inclusion_proof(index)
        assert len(path) <= 17
        verify_inclusion(leaf_hash(index.to_bytes(4, "big")), index, size, path, tree.root())
    for older in (1, 65_536, 65_537, 100_000):
        verify_consistency(older, size, tree.root(older), tree.root(), tree.consistency_proof(older))
