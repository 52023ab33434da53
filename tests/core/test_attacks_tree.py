# SPDX-License-Identifier: MIT
"""Attacks on the trees and on JSON, one test or more for each entry A01 to A17 of the threat catalogue.

A06 to A08 are attacks on Bitcoin proofs; here stands what they mean for the project's own trees.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrv_core.canonical import MAX_BYTES, canonical_bytes, canonical_digest, parse_json, to_json_value
from mrv_core.errors import FormatError, MrvError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import (
    MAX_TREE_SIZE,
    LogTree,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from mrv_core.proofs import InclusionProofFile
from mrv_core.provenance_tree import (
    EPOCH_CHILDREN,
    MerkleNode,
    MLProvenanceMerkleTree,
    branch_node_hash,
    check_run_id,
    leaf_node_hash,
    run_root,
    verify_consistency_proof,
    verify_node_proof,
)

ENTRIES = [b"a", b"b", b"c", b"d"]


def example(run_id: str = "run-a") -> MLProvenanceMerkleTree:
    tree = MLProvenanceMerkleTree(run_id)
    tree.set("data/training", MerkleNode.leaf("x", "array", HashFactory.digest(b"train", "sha256")))
    weights = [MerkleNode.leaf(f"w{i}", "tensor", HashFactory.digest(bytes([i]), "sha256")) for i in range(5)]
    tree.set("model/weights", MerkleNode.branch("x", weights))
    for epoch in (1, 2, 3):
        tree.append_epoch(epoch, metrics=MerkleNode.json("x", {"loss": 1 / epoch}, "sha256"))
    return tree


# --- 1.1 Trees and proofs


def test_a01_a_node_is_never_a_leaf() -> None:
    """Second preimage: the two children of a node, 64 bytes, offered as an entry."""
    tree = LogTree(ENTRIES)
    left = node_hash(leaf_hash(b"a"), leaf_hash(b"b"))
    right = node_hash(leaf_hash(b"c"), leaf_hash(b"d"))
    assert tree.root() == node_hash(left, right)
    forged = leaf_hash(leaf_hash(b"a") + leaf_hash(b"b"))
    for index, size in itertools.product(range(4), range(1, 5)):
        for path in ([right], [right, right], []):
            with pytest.raises(VerificationError):
                verify_inclusion(forged, index, size, path, tree.root())
    # A node's own hash does pass as the leaf of a smaller tree: only the size tells them apart, so it must be bound.
    verify_inclusion(left, 0, 2, [right], tree.root())
    with pytest.raises(VerificationError):
        verify_inclusion(left, 0, tree.size, [right], tree.root())


def test_a01_fields_cannot_be_moved_into_each_other() -> None:
    """`H("ab" + "c") == H("a" + "bc")` in a tree of joined texts."""
    assert tree_root([b"ab", b"c"]) != tree_root([b"a", b"bc"]) != tree_root([b"abc"])
    digest = Digest("sha256", bytes(32))
    assert leaf_node_hash("ab", "c", digest) != leaf_node_hash("a", "bc", digest)
    hashes = {
        leaf_node_hash("x", "file", digest),
        branch_node_hash("x", 1, bytes(32)),
        MerkleNode.absent("x").hash,
        MerkleNode.branch("x", []).hash,
        run_root("x", "x", [bytes(32)]).value,
        leaf_hash(b"x"),
    }
    assert len(hashes) == 6


@pytest.mark.parametrize("forged_kind", ["branch", "absent", "tensor"])
def test_a01_a_branch_is_never_a_leaf_of_a_run(forged_kind: str) -> None:
    tree, root = example(), example().root("after_training")
    for path in ("model/weights", "model/weights/w0", "data/test"):
        proof = tree.prove(path, "after_training")
        for digest, size, children in (
            (None, None, None),
            (Digest("sha256", proof.node_hash), None, None),
            (None, 0, proof.node_hash),
            (None, 5, proof.node_hash),
        ):
            forged = replace(proof, kind=forged_kind, digest=digest, size=size, children_root=children)
            if forged != proof:
                with pytest.raises(VerificationError):
                    verify_node_proof(forged, root)


def test_a01_a_branch_proof_binds_its_label() -> None:
    """A proof for `epochs/1` must not show that there is an `epochs/9`, or that a leaf is a branch."""
    tree = example()
    for path, other in (("training/epochs/1", "training/epochs/9"), ("model/weights/w0", "model/weights/w9")):
        with pytest.raises(VerificationError):
            verify_node_proof(replace(tree.prove(path, "p"), path=other), tree.root("p"))


def test_a02_the_last_leaf_is_not_duplicated() -> None:
    """CVE-2012-2459: in Bitcoin's tree `[a, b, c]` and `[a, b, c, c]` have one root."""
    for size in range(1, 40):
        entries = [bytes([i]) for i in range(size)]
        for extra in range(1, size + 1):
            assert tree_root(entries) != tree_root([*entries, *entries[-extra:]])


def test_a02_no_two_children_with_one_label() -> None:
    leaf = MerkleNode.leaf("x", "file", Digest("sha256", bytes(32)))
    with pytest.raises(FormatError, match="one label"):
        MerkleNode.branch("b", [leaf, leaf])


def happy_inclusion() -> list[tuple[bytes, int, int, list[bytes], bytes]]:
    tree = LogTree(bytes([i]) for i in range(64))
    pairs = [(0, 1), (0, 8), (5, 8), (2, 3), (1, 5), (40, 64), (63, 64)]
    return [(tree.leaf(i), i, n, tree.inclusion_proof(i, n), tree.root(n)) for i, n in pairs]


def test_a03_a_bound_size_leaves_one_index_and_size() -> None:
    """RFC 9162 alone accepts some proofs under another index and size; the hash of the branch does not."""
    malleable = 0
    for leaf, index, size, path, root in happy_inclusion():
        committed = branch_node_hash("epochs", size, root)
        for other_size, other_index in itertools.product(range(70), range(64)):
            if (other_index, other_size) == (index, size):
                continue
            try:
                computed = root_from_inclusion(leaf, other_index, other_size, path)
            except VerificationError:
                continue
            malleable += computed == root
            assert branch_node_hash("epochs", other_size, computed) != committed
    assert malleable, "the enumeration must meet the weakness that the size closes"


def test_a03_every_index_and_size_in_a_run_s_proof() -> None:
    tree = example()
    proof, root = tree.prove("training/epochs/2", "p"), tree.root("p")
    for place, step in enumerate(proof.steps):
        for index, size in itertools.product(range(-1, 12), range(-1, 12)):
            if (index, size) != (step.index, step.size):
                steps = (*proof.steps[:place], replace(step, index=index, size=size), *proof.steps[place + 1 :])
                with pytest.raises(VerificationError):
                    verify_node_proof(replace(proof, steps=steps), root)


def test_a03_epoch_counts_are_bound_in_consistency_proofs() -> None:
    tree = example()
    older = replace(tree.state("before_training"), epochs=2)
    proof = tree.prove_consistency(older, "after_training")
    roots = tree.root(older), tree.root("after_training")
    verify_consistency_proof(proof, *roots)
    for counts in itertools.product(range(-1, 12), range(-1, 12)):
        if counts != (2, 3):
            with pytest.raises(VerificationError):
                verify_consistency_proof(replace(proof, older_epochs=counts[0], newer_epochs=counts[1]), *roots)


@pytest.mark.parametrize(
    "wrong", [-1, 2**63, 2**64, True, False, "3", b"3", 3.0, math.nan, None, np.int64(3), Decimal(3)]
)
def test_a03_numbers_of_another_type_or_range(wrong: Any) -> None:
    leaf, index, size, path, root = happy_inclusion()[2]
    for numbers in ((wrong, size), (index, wrong)):
        with pytest.raises(VerificationError):
            verify_inclusion(leaf, *numbers, path, root)
    for numbers in ((wrong, 5), (3, wrong)):
        with pytest.raises(VerificationError):
            verify_consistency(*numbers, root, root, path)
    tree = example()
    proof = tree.prove("data/training", "p")
    for name in ("index", "size"):
        steps = (replace(proof.steps[0], **{name: wrong}), proof.steps[1])
        with pytest.raises(VerificationError):
            verify_node_proof(replace(proof, steps=steps), tree.root("p"))


def test_a03_the_largest_sizes_do_no_harm() -> None:
    for index in (0, 1, MAX_TREE_SIZE // 2):
        assert len(root_from_inclusion(bytes(32), index, MAX_TREE_SIZE, [bytes(32)] * 63)) == 32
        with pytest.raises(VerificationError, match="too short"):
            root_from_inclusion(bytes(32), index, MAX_TREE_SIZE, [bytes(32)] * 62)
    with pytest.raises(VerificationError, match="too long"):
        root_from_inclusion(bytes(32), 0, MAX_TREE_SIZE, [bytes(32)] * 100_000)


def test_a04_damaged_paths() -> None:
    """Extra, missing, reordered, repeated and cut hashes, for inclusion and consistency."""
    tree = LogTree(bytes([i]) for i in range(100))
    roots = tree.root(37), tree.root(100)
    probes: list[tuple[list[bytes], Callable[[list[bytes]], None]]] = [
        (tree.inclusion_proof(37), lambda path: verify_inclusion(tree.leaf(37), 37, 100, path, roots[1])),
        (tree.consistency_proof(37), lambda path: verify_consistency(37, 100, *roots, path)),
    ]
    for path, verify in probes:
        verify(path)
        bad = [[], path[1:], path[:-1], path[::-1], [*path, path[-1]], [path[0], *path], [*path, *path]]
        for i, j in itertools.combinations(range(len(path)), 2):
            bad.append([path[j] if k == i else path[i] if k == j else step for k, step in enumerate(path)])
        for i, step in enumerate(path):
            rest = path[:i], path[i + 1 :]
            bad += [[*rest[0], other, *rest[1]] for other in (step[:-1], step + b"\x00", b"", step[::-1], roots[1])]
        for wrong in bad:
            with pytest.raises(VerificationError):
                verify(wrong)


@pytest.mark.parametrize(
    "name", ["sha1", "md5", "SHA256", "sha-256", "blake3-128", "keccak256", "", " sha256", "sha256 ", None, 5, []]
)
def test_a05_only_the_allowed_algorithms(name: Any) -> None:
    for use in (HashFactory.create, lambda n: HashFactory.digest(b"", n), lambda n: Digest(n, bytes(32))):
        with pytest.raises(FormatError, match="unknown hash algorithm"):
            use(name)
    with pytest.raises(FormatError):
        Digest.parse(f"{name}:{'00' * 32}")


def test_a05_truncated_digests() -> None:
    for size in (0, 16, 20, 28, 31, 33, 64):
        with pytest.raises(FormatError, match="32 bytes"):
            Digest("blake3", bytes(size))
        with pytest.raises(FormatError):
            Digest.parse("blake3:" + "00" * size)


def test_a05_the_same_bytes_under_another_algorithm() -> None:
    tree = example()
    proof, root = tree.prove("data/training", "p"), tree.root("p")
    with pytest.raises(RootMismatchError):
        verify_node_proof(proof, Digest("blake3", root.value))
    assert proof.digest is not None
    for algorithm in ("blake3", "sha3-256", "blake2b-256"):
        with pytest.raises(RootMismatchError):
            verify_node_proof(replace(proof, digest=Digest(algorithm, proof.digest.value)), root)


def test_a06_a_shorter_path_does_not_make_a_node_an_entry() -> None:
    """CVE-2017-12842: entries of 64 bytes are entries; the depth is fixed by the size."""
    entries = [leaf_hash(bytes([i])) + leaf_hash(bytes([i + 1])) for i in range(8)]
    tree = LogTree(entries)
    for index in range(8):
        path = tree.inclusion_proof(index)
        verify_inclusion(leaf_hash(entries[index]), index, 8, path, tree.root())
        for cut in range(1, 4):
            with pytest.raises(VerificationError, match="too short"):
                verify_inclusion(leaf_hash(entries[index]), index, 8, path[:-cut], tree.root())
        sibling = node_hash(*(leaf_hash(entry) for entry in entries[index & ~1 : (index & ~1) + 2]))
        with pytest.raises(VerificationError):
            verify_inclusion(sibling, index, 8, path[1:], tree.root())


def test_a06_every_flipped_bit_is_refused() -> None:
    tree = LogTree(ENTRIES)
    path = tree.inclusion_proof(2)
    for place, bit in itertools.product(range(len(path)), range(256)):
        flipped = (int.from_bytes(path[place], "big") ^ 1 << bit).to_bytes(32, "big")
        with pytest.raises(RootMismatchError):
            verify_inclusion(tree.leaf(2), 2, 4, [*path[:place], flipped, *path[place + 1 :]], tree.root())


def test_a07_a_proof_brings_no_trust_of_its_own() -> None:
    """A forged run leads to a root, and says so; it never is the root that an anchor holds."""
    anchored = example().root("after_training")
    forger = example()
    forger.append_epoch(4, metrics=MerkleNode.json("x", {"loss": 0}, "sha256"))
    own = forger.root("after_training")
    file = InclusionProofFile.from_proof(forger.prove("training/epochs/4", "after_training"), own)
    file.verify(own)
    with pytest.raises(RootMismatchError):
        file.verify(anchored)
    with pytest.raises(RootMismatchError):
        file.model_copy(update={"root": anchored}).verify(anchored)


def test_a08_a_stale_root_is_another_root() -> None:
    """An older root does not vouch for what came later, nor a newer one for what is gone."""
    tree = example()
    stale, state = tree.root("after_training"), tree.state("after_training")
    tree.append_epoch(4)
    fresh = tree.root("after_training")
    assert fresh != stale
    with pytest.raises(RootMismatchError):
        verify_node_proof(tree.prove("training/epochs/4", "after_training"), stale)
    verify_node_proof(tree.prove("training/epochs/3", state), stale)
    with pytest.raises(RootMismatchError):
        verify_node_proof(tree.prove("training/epochs/3", state), fresh)


def test_a09_phases_and_runs_are_not_interchangeable() -> None:
    one, other = example("run-a"), example("run-b")
    roots = {tree.root(phase) for tree in (one, other) for phase in ("before_training", "after_training")}
    assert len(roots) == 4, "equal trees, four different roots"
    for path in ("data/training", "training/epochs", "training/epochs/1/metrics"):
        before = one.prove(path, "before_training")
        verify_node_proof(before, one.root("before_training"))
        for root in (one.root("after_training"), other.root("before_training")):
            with pytest.raises(RootMismatchError):
                verify_node_proof(before, root)
        relabelled = replace(before, phase="after_training"), replace(before, run_id="run-b")
        for lie in relabelled:
            with pytest.raises(RootMismatchError):
                verify_node_proof(lie, one.root("before_training"))


def test_a09_run_id_and_phase_cannot_be_moved_into_each_other() -> None:
    top = [bytes(32)] * 3
    assert run_root("ab", "c", top) != run_root("a", "bc", top)


def test_a09_a_leaf_is_bound_to_its_place() -> None:
    tree = MLProvenanceMerkleTree("r")
    content = MerkleNode.leaf("x", "array", HashFactory.digest(b"same", "sha256"))
    tree.set("data/training", content)
    tree.set("data/test", content)
    proof = tree.prove("data/test", "p")
    for path in ("data/training", "model/test", "test", "data/test/test", "training/epochs/test"):
        with pytest.raises(VerificationError):
            verify_node_proof(replace(proof, path=path), tree.root("p"))


def test_a09_consistency_between_runs_or_in_the_wrong_order() -> None:
    one, other = example("run-a"), example("run-b")
    state = replace(one.state("before_training"), epochs=1)
    proof = one.prove_consistency(state, "after_training")
    good = one.root(state), one.root("after_training")
    verify_consistency_proof(proof, *good)
    for older, newer in ((good[1], good[0]), (other.root(state), good[1]), (good[0], other.root("after_training"))):
        with pytest.raises(RootMismatchError):
            verify_consistency_proof(proof, older, newer)


def test_a09_hashes_of_another_length_in_a_consistency_proof() -> None:
    """A tree whose builder put something else than a hash in the place of a node."""
    tree = example()
    good = tree.prove_consistency(tree.state("p"), "p")
    for name in ("data", "model", "config", "environment", "newer_results"):
        for value in (b"", b"short", bytes(33)):
            own = {name: value} | ({"older_results": value} if name == "newer_results" else {})
            forged = replace(good, **own)
            children = [forged.config, forged.environment, forged.newer_results]
            epochs = branch_node_hash("epochs", forged.newer_epochs, forged.newer_epochs_root)
            training = branch_node_hash("training", 4, tree_root([*children, epochs]))
            root = run_root("run-a", "p", [forged.data, forged.model, training])
            with pytest.raises(VerificationError, match="not 32 bytes"):
                verify_consistency_proof(forged, root, root)


# --- 1.2 JSON, numbers, text


@pytest.mark.parametrize(
    "text",
    [
        '{"co2_kg":900,"co2_kg":1}',
        r'{"co2_kg":900,"\u0063o2_kg":1}',
        r'{"\u0063o2_kg":900,"co2_kg":900}',
        '[{"a":{"co2_kg":900,"co2_kg":1}}]',
        '{"":1,"":1}',
        r'{"\ud83d\ude00":1,"😀":1}',
        '{"a":1,"b":2,"c":3,"a":4}',
    ],
)
def test_a10_duplicate_keys(text: str) -> None:
    with pytest.raises(FormatError, match="appears twice in one object"):
        parse_json(text.encode(), what="record")


def test_a10_equal_keys_in_different_objects_are_fine() -> None:
    assert parse_json(b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}', what="record")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e99999999999999999999"])
def test_a11_numbers_that_are_not_finite(text: str) -> None:
    with pytest.raises(FormatError, match=r"^record: at /run/losses/1: "):
        parse_json(f'{{"run":{{"losses":[1,{text}]}}}}'.encode(), what="record")


def test_a11_a_diverged_training_keeps_its_record() -> None:
    value = {"losses": [1.0, math.nan, np.float32("inf")]}
    for write in (canonical_bytes, to_json_value):
        with pytest.raises(FormatError, match="nan at /losses/1"):
            write(value)
    kept = canonical_bytes(to_json_value(value, non_finite=True))
    assert kept == b'{"losses":[1,{"non_finite":"NaN"},{"non_finite":"Infinity"}]}'
    assert canonical_bytes(parse_json(kept, what="record")) == kept


@pytest.mark.parametrize(
    ("texts", "form"),
    [
        (["0", "-0", "0.0", "-0.0", "0e5", "-0E-5", "1e-999"], b"0"),
        (["1", "1.0", "1e0", "10e-1", "0.1e1", "1.00000000000000000000001"], b"1"),
        (["100", "1e2", "1E+2", "100.000"], b"100"),
        (["1e20", "100000000000000000000", "1E20"], b"100000000000000000000"),
        (["1e21", "10e20", "1000000000000000000000.0"], b"1e+21"),
        (["0.000001", "1e-6"], b"0.000001"),
    ],
)
def test_a12_one_number_has_one_form(texts: list[str], form: bytes) -> None:
    assert {canonical_bytes(parse_json(text.encode(), what="number")) for text in texts} == {form}
    assert len({canonical_digest(parse_json(text.encode(), what="number")) for text in texts}) == 1


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**60, 2**63, 2**64, 10**20 + 1, 10**21, -(10**22)])
def test_a13_integers_that_readers_would_round(number: int) -> None:
    with pytest.raises(FormatError, match=r"^record: at /n: integer beyond 2\^53-1; write it as a string$"):
        parse_json(f'{{"n":{number}}}'.encode(), what="record")


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**53 + 1, 2**64, 10**20, 10**5000], ids=int.bit_length)
def test_a13_integers_beyond_are_not_written(number: int) -> None:
    for write in (canonical_bytes, to_json_value):
        with pytest.raises(FormatError, match=r"integer at /n is beyond 2\^53-1"):
            write({"n": number})


@pytest.mark.parametrize("digits", ["1" * 5000, "-" + "9" * 5000, "1" * 1_000_000], ids=len)
def test_a13_endless_integers_give_a_clear_error(digits: str) -> None:
    with pytest.raises(FormatError, match=r"^record: at /0: integer beyond 2\^53-1; write it as a string$"):
        parse_json(f"[{digits}]".encode(), what="record")


def test_a13_no_two_texts_are_read_as_one_large_number() -> None:
    """Beyond 2^53 - 1 only the canonical text of a double is read: its neighbours are refused."""
    for exponent in range(53, 70):
        text = canonical_bytes(float(2**exponent)).decode()
        number = int(text)
        assert parse_json(text.encode(), what="n") == float(2**exponent)
        for near in (number - 1, number + 1):
            if near > 2**53 - 1 and canonical_bytes(float(near)) != str(near).encode():
                with pytest.raises(FormatError, match="beyond"):
                    parse_json(str(near).encode(), what="n")
    with pytest.raises(FormatError, match="beyond"):
        parse_json(b"9007199254740993", what="n")


def test_a14_text_is_not_normalised() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert canonical_bytes({composed: 1, decomposed: 2}) == '{"cafe\u0301":2,"caf\u00e9":1}'.encode()
    assert canonical_digest(composed) != canonical_digest(decomposed)
    assert MerkleNode.absent(composed).hash != MerkleNode.absent(decomposed).hash


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udfffb"', r'{"\ud800":1}', r'["\udc00\ud800"]', r'"\ud800\u0041"'])
def test_a14_lone_surrogates(text: str) -> None:
    with pytest.raises(FormatError, match="lone surrogate"):
        parse_json(text.encode(), what="record")
    with pytest.raises(FormatError):
        canonical_bytes("\ud800")
    with pytest.raises(FormatError, match="not valid Unicode"):
        MerkleNode.absent("\ud800")


@pytest.mark.parametrize(
    "run_id",
    [
        "caf\u00e9",
        "cafe\u0301",
        "run\u202e",
        "run\u200b",
        "\u0430",  # a Cyrillic letter that looks like "a"
        "run 1",
        "run\n",
        "run/1",
        "../run",
        ".run",
        "-run",
        "run\x00",
        "",
        "x" * 65,
        "\u0661",
        None,
        7,
        b"run",
        True,
    ],
)
def test_a14_ids_are_plain_ascii(run_id: Any) -> None:
    with pytest.raises(FormatError, match="is not usable"):
        check_run_id(run_id)
    with pytest.raises(FormatError):
        MLProvenanceMerkleTree(run_id)


def test_a14_unprintable_text_in_messages_is_escaped() -> None:
    with pytest.raises(FormatError) as caught:
        parse_json('{"\u202e\u200bk\\u001b[2J\\n":NaN}'.encode(), what="record")
    assert caught.value.message == r"record: at /\u202e\u200bk\x1b[2J\n: NaN is not JSON"


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        bytearray(b"x"),
        Decimal("1.5"),
        Fraction(1, 2),
        1j,
        datetime.datetime(2026, 1, 11, tzinfo=datetime.UTC),
        datetime.date(2026, 1, 11),
        Path("x"),
        {1, 2},
        frozenset(),
        object(),
        ...,
        pd.NaT,
        pd.NA,
        pd.Timestamp("2026-01-11"),
        pd.Series([1]),
        np.array([1, 2]),
        np.datetime64("NaT"),
        np.complex128(1),
        {1: "a"},
        {None: "a"},
        {(1,): "a"},
        {b"a": 1},
        {True: 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a15_types_that_json_cannot_carry(value: Any) -> None:
    for given in (value, [value], {"a": {"b": value}}):
        for write in (canonical_bytes, to_json_value):
            with pytest.raises(FormatError):
                write(given)


def test_a15_values_that_are_equal_in_python_only() -> None:
    assert (
        len({canonical_bytes(value) for value in (True, 1, "1", [1], "true", None, "null", 0, False, "", [], {})}) == 12
    )
    assert canonical_bytes(1) == canonical_bytes(1.0), "one number"
    assert canonical_bytes((1, 2)) == canonical_bytes([1, 2])


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.float32(0.1), np.int64(-5), np.bool_(True), np.array(3), np.uint8(255), (1, (2, [3]))]
)
def test_a15_round_trips_are_stable(value: Any) -> None:
    data = canonical_bytes(to_json_value({"v": value}))
    assert canonical_bytes(parse_json(data, what="record")) == data


def test_a16_the_file_holds_the_bytes_that_were_hashed(tmp_path: Path) -> None:
    value = {"b": [1.0, 1e20, "caf\u00e9"], "a": {"non_finite": "NaN"}}
    file = tmp_path / "record.json"
    file.write_bytes(canonical_bytes(value))
    assert canonical_digest(value, "sha256").hex == hashlib.sha256(file.read_bytes()).hexdigest()
    again = parse_json(file.read_bytes(), what="record.json")
    assert canonical_digest(again, "sha256") == canonical_digest(value, "sha256")
    node = MerkleNode.json("x", value, "sha256")
    assert node.digest == canonical_digest(value, "sha256")


def in_a_process(code: str, *, memory: int = 2 * 1024**3) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with a memory limit and the recursion limit that some libraries set."""
    head = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))\n"
        "sys.setrecursionlimit(100_000)\n"
        "from mrv_core.canonical import *\n"
        "from mrv_core.errors import FormatError\n"
        "def refused(function, *args, **kwargs):\n"
        "    try: function(*args, **kwargs)\n"
        "    except FormatError as error: return error.message\n"
        "    raise AssertionError('accepted')\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, timeout=120, env=environment, check=False
    )


def test_a17_nesting_cannot_end_the_interpreter() -> None:
    result = in_a_process(
        "import threading\n"
        "bombs = [b'[' * 70_000, b'[' * 200_000, b'{\"a\":' * 70_000, b'[{\"a\":' * 50_000, b' [\\n' * 70_000]\n"
        "bombs += [b'[\"]\",' * 70_000, b'[\"\\\\\\\\\",' * 70_000]\n"
        "def run():\n"
        "    for bomb in bombs:\n"
        "        assert 'nested deeper than 64 levels' in refused(parse_json, bomb, what='x')\n"
        "run()\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
        "print('alive')\n"
    )
    assert (result.stdout, result.stderr, result.returncode) == ("alive\n", "", 0)


def test_a17_writing_deep_or_endless_structures() -> None:
    result = in_a_process(
        "deep = []\n"
        "for _ in range(50_000): deep = [deep]\n"
        "loop = {}; loop['a'] = [loop]\n"
        "for write in (canonical_bytes, to_json_value):\n"
        "    assert 'nested deeper' in refused(write, deep)\n"
        "    assert 'contains itself' in refused(write, loop)\n"
        "print('alive', flush=True)\n"
        "import os; os._exit(0)\n"  # freeing `deep` is the interpreter's own affair
    )
    assert (result.stdout, result.stderr, result.returncode) == ("alive\n", "", 0)


def test_a17_size_is_checked_before_anything_else() -> None:
    result = in_a_process(
        "assert 'is more than the' in refused(parse_json, b'[' + b' ' * (100 << 20), what='x')\n"
        "assert 'is more than the' in refused(parse_json, b'[[[[[[', what='x', max_bytes=5)\n"
        "print('alive')\n",
        memory=512 * 1024**2,
    )
    assert (result.stdout, result.stderr, result.returncode) == ("alive\n", "", 0)
    assert MAX_BYTES == 64 * 1024 * 1024


def test_a17_long_strings_cost_no_more_than_their_size() -> None:
    """The depth check must not keep a backtracking state for each character."""
    result = in_a_process(
        "size = 40_000_000\n"
        "assert len(parse_json(b'\"' + b'a' * size + b'\"', what='x')) == size\n"
        "assert len(parse_json(b'\"' + b'\\\\\\\\' * (size // 2) + b'\"', what='x')) == size // 2\n"
        "assert 'Unterminated string' in refused(parse_json, b'\"' + b'[' * size, what='x')\n"
        "assert 'Unterminated string' in refused(parse_json, b'\"' + b'\\\\\"' * (size // 2), what='x')\n"
        "print('alive')\n",
        memory=640 * 1024**2,
    )
    assert (result.stdout, result.stderr, result.returncode) == ("alive\n", "", 0)


def test_a17_a_million_keys_are_fine() -> None:
    count = 1_000_000
    document = b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(count)) + b"}"
    value = parse_json(document, what="record")
    assert len(value) == count
    assert value["k999999"] == 999_999


def test_a17_keys_that_collide_in_an_unseeded_hash() -> None:
    """65,536 names with one value of the hash s[0]*31^(n-1) + ... + s[n-1]; ours is seeded for each process."""
    names = ["".join(parts) for parts in itertools.product(("Aa", "BB"), repeat=16)]
    assert len({sum(ord(c) * 31 ** (31 - i) for i, c in enumerate(name)) for name in names}) == 1
    document = canonical_bytes(dict.fromkeys(names, 0))
    assert len(parse_json(document, what="record")) == len(names)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xfe[\x00]\x00",
        b"\xfe\xff\x00[\x00]",
        b"[\x00]\x00",
        b"\x00[\x00]",
        b"\xef\xbb\xbf[]",
        b"\x00",
        b"[]\x00",
        b"+AFsAXQ-",
    ],
)
def test_a17_other_encodings(bad: bytes) -> None:
    with pytest.raises(FormatError, match=r"^record: "):
        parse_json(bad, what="record")


def test_a17_every_refusal_is_one_of_ours() -> None:
    """Whatever stands in an epoch's row or label, nothing but MrvError comes out."""
    for hostile in ("", "\ud800", "x" * 10_000, 7, None, b"x", ["x"], {"a": 1}, True, math.nan, 10**5000):
        for build in (
            lambda value: MerkleNode.absent(value),
            lambda value: MerkleNode.branch("1", [MerkleNode.absent(label) for label in (*EPOCH_CHILDREN, value)]),
            lambda value: Digest.parse(value),
        ):
            with pytest.raises(MrvError):
                build(hostile)
