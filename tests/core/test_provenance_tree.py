# SPDX-License-Identifier: MIT
"""The provenance tree against its specification: hashes, proofs, states, and trees read back from rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrv_core.errors import FormatError, RootMismatchError, RunStateError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import EMPTY_ROOT
from mrv_core.provenance_tree import (
    EPOCH_CHILDREN,
    MAX_LABEL_BYTES,
    SLOTS,
    ConsistencyProof,
    MerkleNode,
    MLProvenanceMerkleTree,
    NodeProof,
    TreeState,
    branch_node_hash,
    check_run_id,
    escape_label,
    leaf_node_hash,
    node_from_rows,
    node_rows,
    run_root,
    unescape_label,
    verify_consistency_proof,
    verify_node_proof,
)

LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ["a/b", "a~b", "~", "/", "~1", "\x00", "..", "\u202e"]
)
DIGESTS = st.builds(Digest, st.sampled_from(HashFactory.algorithms()), st.binary(min_size=32, max_size=32))
LEAVES = st.builds(MerkleNode.leaf, LABELS, st.sampled_from(["array", "file", "x-1"]), DIGESTS) | st.builds(
    MerkleNode.json, LABELS, st.dictionaries(st.text("ab"), st.integers(0, 9), max_size=2), st.just("sha256")
)
NODES = st.recursive(
    LEAVES | st.builds(MerkleNode.absent, LABELS),
    lambda inner: st.builds(MerkleNode.branch, LABELS, st.lists(inner, max_size=6, unique_by=lambda node: node.label)),
    max_leaves=12,
)


def digest(seed: int) -> Digest:
    return HashFactory.digest(bytes([seed]), "sha256")


@st.composite
def trees(draw: st.DrawFn) -> MLProvenanceMerkleTree:
    tree = MLProvenanceMerkleTree(draw(st.sampled_from(["r", "run-1", "A.b_c"])))
    for slot in draw(st.sets(st.sampled_from(SLOTS))):
        tree.set(slot, draw(NODES))
    numbers = sorted(draw(st.sets(st.integers(0, 10**16 - 1), max_size=6)))
    for number in numbers:
        given_content = {name: draw(st.none() | NODES) for name in EPOCH_CHILDREN}
        tree.append_epoch(number, **given_content)
    return tree


def plain(node: MerkleNode) -> dict[str, Any]:
    """Write a node in the oracle's form."""
    if node.kind == "branch":
        return {"label": node.label, "kind": "branch", "children": list(map(plain, node.children))}
    result = {"label": node.label, "kind": node.kind}
    return result if node.digest is None else result | {"digest": str(node.digest)}


def plain_run(tree: MLProvenanceMerkleTree, state: TreeState) -> dict[str, Any]:
    top = [plain(tree.node(label, state)) for label in ("data", "model", "training")]
    return {"run_id": tree.run_id, "phase": state.phase, "top": top}


def example(epochs: int = 5) -> MLProvenanceMerkleTree:
    tree = MLProvenanceMerkleTree("run-1")
    tree.set("data/training", MerkleNode.branch("d", [MerkleNode.leaf(f"f{i}", "file", digest(i)) for i in range(7)]))
    tree.set("model/architecture", MerkleNode.json("a", {"layers": 2}, "blake3"))
    tree.set("training/config", MerkleNode.json("c", {"lr": 0.1}, "blake3"))
    for epoch in range(epochs):
        tree.append_epoch(epoch, metrics=MerkleNode.json("m", {"loss": 1 / (1 + epoch)}, "blake3"))
    return tree


class TestAgainstTheOracle:
    @settings(max_examples=40)
    @given(trees())
    def test_roots_and_every_node(self, tree: MLProvenanceMerkleTree) -> None:
        state = tree.state("after_training")
        run = plain_run(tree, state)
        assert str(tree.root(state)) == oracles.run_root(run)
        expected = {"/".join(map(oracles.escape, labels)): node for labels, node in oracles.all_nodes(run)}
        found = dict(tree.walk(state))
        assert list(found) == list(expected)
        for path, node in found.items():
            assert node.hash == oracles.node_hash(expected[path])
            assert tree.node(path) == node

    @settings(max_examples=40)
    @given(trees())
    def test_every_inclusion_proof(self, tree: MLProvenanceMerkleTree) -> None:
        run, root = plain_run(tree, tree.state("after_training")), tree.root("after_training")
        for labels, node in oracles.all_nodes(run):
            path = "/".join(map(oracles.escape, labels))
            proof = tree.prove(path, "after_training")
            verify_node_proof(proof, root)
            assert proof.node_hash == oracles.node_hash(node)
            expected = oracles.inclusion_proof(run, labels)
            steps = [
                {"label": s.label, "index": s.index, "size": s.size, "path": [h.hex() for h in s.path]}
                for s in proof.steps
            ]
            assert steps == expected["steps"]

    @settings(max_examples=40)
    @given(trees(), st.data())
    def test_every_earlier_state_is_consistent(self, tree: MLProvenanceMerkleTree, data: st.DataObject) -> None:
        newer = tree.state("after_training")
        fixed = tuple(slot for slot in newer.slots if slot != "training/results")
        slots = data.draw(st.sampled_from([fixed, newer.slots]))
        older = TreeState("before_training", data.draw(st.integers(0, newer.epochs)), slots)
        proof = tree.prove_consistency(older, newer)
        verify_consistency_proof(proof, tree.root(older), tree.root(newer))
        expected = oracles.consistency_proof(plain_run(tree, older), plain_run(tree, newer))
        assert [step.hex() for step in proof.path] == expected["path"]
        assert oracles.consistency_roots(expected) == (str(tree.root(older)), str(tree.root(newer)))

    def test_neighbours_that_could_be_mistaken_for_each_other(self) -> None:
        """Moved content, moved borders between fields, other kinds and algorithms: every root is another."""
        leaf = MerkleNode.leaf("x", "file", digest(0))
        contents = {
            "data/training": [
                leaf,
                MerkleNode.leaf("x", "array", digest(0)),
                MerkleNode.leaf("x", "file", Digest("blake3", digest(0).value)),
                MerkleNode.absent("x"),
                MerkleNode.branch("x", []),
                MerkleNode.branch("x", [leaf]),
                MerkleNode.branch("x", [MerkleNode.branch("x", [leaf])]),
                MerkleNode.branch("x", [MerkleNode.absent("ab"), MerkleNode.absent("c")]),
                MerkleNode.branch("x", [MerkleNode.absent("a"), MerkleNode.absent("bc")]),
                MerkleNode.branch("x", [MerkleNode.absent("c"), MerkleNode.absent("ab")]),
                MerkleNode.branch("x", [MerkleNode.absent("abc")]),
            ],
            "data/test": [leaf],
            "model/weights": [leaf],
        }
        roots = set()
        for slot, nodes in contents.items():
            for node in nodes:
                tree = MLProvenanceMerkleTree("r")
                tree.set(slot, node)
                roots.add(tree.root("p"))
        absent = MLProvenanceMerkleTree("r").root("p")  # what absent("x") in a slot also is
        assert absent in roots
        assert len(roots) == 13


class TestLabels:
    @given(LABELS)
    def test_escaping_round_trips(self, label: str) -> None:
        segment = escape_label(label)
        assert "/" not in segment
        assert unescape_label(segment) == label == oracles.unescape(segment)

    @given(st.text("~01/a", max_size=8))
    def test_a_segment_has_one_spelling(self, segment: str) -> None:
        try:
            label = unescape_label(segment)
        except FormatError:
            assert oracles.unescape(segment) is None
            return
        assert label == oracles.unescape(segment)
        if "/" not in segment:
            assert escape_label(label) == segment

    @pytest.mark.parametrize("label", ["", "\ud800", "x" * (MAX_LABEL_BYTES + 1), "\u00e9" * 2049, None, 7, b"x"])
    def test_unusable_labels(self, label: Any) -> None:
        for build in (MerkleNode.absent, lambda label: MerkleNode.leaf(label, "file", digest(0))):
            with pytest.raises(FormatError):
                build(label)
        with pytest.raises(FormatError):
            MerkleNode.branch(label, [])

    def test_longest_label(self) -> None:
        assert MerkleNode.absent("x" * MAX_LABEL_BYTES).hash == oracles.absent_hash("x" * MAX_LABEL_BYTES)

    def test_children_have_different_labels(self) -> None:
        with pytest.raises(FormatError, match="two children of 'b' have one label"):
            MerkleNode.branch("b", [MerkleNode.absent("x"), MerkleNode.leaf("x", "file", digest(0))])

    @pytest.mark.parametrize("kind", ["", "branch", "absent", "File", "1a", "a_b", "a" * 33, "a\n", "\u00e9"])
    def test_unusable_kinds(self, kind: str) -> None:
        with pytest.raises(FormatError, match="is not a kind of content"):
            leaf_node_hash("x", kind, digest(0))

    @pytest.mark.parametrize("phase", ["", "Before", "before-training", "_x", "1", "a" * 33, "a\n"])
    def test_unusable_phases(self, phase: str) -> None:
        with pytest.raises(FormatError, match="lower-case letters and underscores"):
            run_root("r", phase, [bytes(32)] * 3)

    @pytest.mark.parametrize("run_id", ["a", "0", "A.b_c-9", "x" * 64])
    def test_usable_run_ids(self, run_id: str) -> None:
        assert check_run_id(run_id) == run_id

    @pytest.mark.parametrize(
        ("size", "root"),
        [
            (-1, b"r" * 32),
            (2**63, b"r" * 32),
            (True, b"r" * 32),
            (1.0, b"r" * 32),
            (1, b"r" * 31),
            (0, b"r" * 32),
            (1, EMPTY_ROOT),
        ],
    )
    def test_unusable_branches(self, size: Any, root: bytes) -> None:
        with pytest.raises(FormatError):
            branch_node_hash("b", size, root)


class TestNodes:
    @given(NODES, LABELS)
    def test_relabel_equals_building_it_so(self, node: MerkleNode, label: str) -> None:
        renamed = node.relabel(label)
        assert renamed.hash == oracles.node_hash({**plain(node), "label": label})
        assert renamed.relabel(node.label) == node
        assert renamed.value == node.value

    def test_child(self) -> None:
        branch = MerkleNode.branch("b", [MerkleNode.absent("x"), MerkleNode.leaf("y", "file", digest(0))])
        assert branch.child("y").digest == digest(0)
        assert branch.child("x").is_absent
        with pytest.raises(KeyError):
            branch.child("z")

    def test_walk_without_a_path(self) -> None:
        branch = MerkleNode.branch("b", [MerkleNode.branch("x/y", [MerkleNode.absent("z")])])
        assert [path for path, _ in branch.walk()] == ["", "x~1y", "x~1y/z"]


class TestTree:
    def test_slots_are_the_only_places(self) -> None:
        tree = MLProvenanceMerkleTree("r")
        for path in ("", "data", "data/other", "training/epochs", "training/epochs/1", "data/training/x"):
            with pytest.raises(FormatError, match="is not a place for content"):
                tree.set(path, MerkleNode.absent("x"))

    def test_epochs_grow(self) -> None:
        tree = MLProvenanceMerkleTree("r")
        assert tree.append_epoch(3).label == "3"
        for number in (3, 2, 0):
            with pytest.raises(RunStateError, match=f"epoch {number} comes after epoch 3"):
                tree.append_epoch(number)
        tree.append_epoch(10)  # not compared as text
        assert tree.epoch_count == 2
        assert [epoch.label for epoch in tree.epochs] == ["3", "10"]

    @pytest.mark.parametrize("number", [-1, True, 1.0, "x", 10**16, None])
    def test_epoch_numbers(self, number: Any) -> None:
        with pytest.raises(FormatError, match="is not an epoch number"):
            MLProvenanceMerkleTree("r").append_epoch(number)

    @pytest.mark.parametrize("label", ["01", "+1", " 1", "1 ", "\u0661", "1\n", "epoch"])
    def test_epoch_nodes_from_elsewhere(self, label: str) -> None:
        children = [MerkleNode.absent(child) for child in EPOCH_CHILDREN]
        with pytest.raises(FormatError, match="is not an epoch number"):
            MLProvenanceMerkleTree("r").append_epoch_node(MerkleNode.branch(label, children))
        for wrong in (children[:2], children[::-1], [*children, MerkleNode.absent("more")]):
            with pytest.raises(FormatError, match="does not have the children"):
                MLProvenanceMerkleTree("r").append_epoch_node(MerkleNode.branch("1", wrong))

    def test_states_it_never_had(self) -> None:
        tree = example(2)
        with pytest.raises(FormatError, match="the run has 2 epochs, not 3"):
            tree.root(TreeState("after_training", 3, ()))
        with pytest.raises(FormatError, match="not -1"):
            tree.root(TreeState("after_training", -1, ()))
        with pytest.raises(FormatError, match="the tree has nothing at data/test, nowhere"):
            tree.root(TreeState("after_training", 0, ("data/training", "data/test", "nowhere")))

    def test_older_roots_stay(self) -> None:
        tree = example(0)
        roots = []
        for epoch in range(6):
            roots.append((tree.state("epoch_checkpoint"), tree.root("epoch_checkpoint")))
            tree.append_epoch(epoch)
        for state, root in roots:
            assert tree.root(state) == root
        assert len({root for _, root in roots}) == 6

    def test_nodes_that_are_not_there(self) -> None:
        tree = example()
        with pytest.raises(FormatError, match="the run has no node 'training/epochs/9'") as caught:
            tree.node("training/epochs/9")
        assert caught.value.hint == "below training/epochs there is: 0, 1, 2, 3, 4"
        with pytest.raises(FormatError, match="no node 'data/test/x'") as caught:
            tree.prove("data/test/x", "p")
        assert caught.value.hint == "below data/test there is: nothing"
        with pytest.raises(FormatError, match="no node ''") as caught:
            tree.node("")
        assert caught.value.hint == "below the root there is: data, model, training"
        with pytest.raises(FormatError, match="has a '~'"):
            tree.node("data/a~2")


class TestInclusionProofs:
    TREE = example()
    ROOT = TREE.root("after_training")
    PATHS = tuple(path for path, _ in TREE.walk())

    @settings(max_examples=400)
    @given(st.sampled_from(PATHS), st.data())
    def test_no_changed_proof_verifies(self, path: str, data: st.DataObject) -> None:
        proof = self.TREE.prove(path, "after_training")
        changed = change_proof(proof, data)
        if changed != proof:
            with pytest.raises(VerificationError):
                verify_node_proof(changed, self.ROOT)

    @given(st.sampled_from(PATHS), st.sampled_from(PATHS))
    def test_a_proof_names_one_node(self, path: str, other: str) -> None:
        proof = replace(self.TREE.prove(path, "after_training"), path=other)
        if other != path:
            with pytest.raises(VerificationError):
                verify_node_proof(proof, self.ROOT)

    def test_message_names_path_and_roots(self) -> None:
        proof = self.TREE.prove("training/config", "after_training")
        other = self.TREE.root("before_training")
        with pytest.raises(RootMismatchError, match="the proof of 'training/config' leads to another root") as caught:
            verify_node_proof(proof, other)
        assert (caught.value.expected, caught.value.computed) == (str(other), str(self.ROOT))


def flip(value: bytes, data: st.DataObject) -> bytes:
    return (int.from_bytes(value, "big") ^ 1 << data.draw(st.integers(0, 255))).to_bytes(32, "big")


def change_proof(proof: NodeProof, data: st.DataObject) -> NodeProof:
    """Change one thing of a proof."""
    steps = list(proof.steps)
    place = data.draw(st.integers(0, len(steps) - 1))
    step = steps[place]
    what = data.draw(
        st.sampled_from(
            ["run_id", "phase", "path", "kind", "digest", "size", "children_root", "steps", "step", "sibling"]
        )
    )
    match what:
        case "run_id" | "phase":
            return replace(proof, **{what: data.draw(st.sampled_from(["run-2", "before_training", "", "x", "\n"]))})
        case "path":
            return replace(proof, path=data.draw(st.text("data/trining~01", max_size=12)))
        case "kind":
            return replace(proof, kind=data.draw(st.sampled_from(["branch", "absent", "json", "file", "", "B"])))
        case "digest":
            return replace(proof, digest=data.draw(st.none() | DIGESTS))
        case "size":
            return replace(proof, size=data.draw(st.none() | st.integers(-1, 9) | st.booleans()))
        case "children_root":
            root = proof.children_root or bytes(32)
            return replace(
                proof, children_root=data.draw(st.sampled_from([None, flip(root, data), root[1:], EMPTY_ROOT]))
            )
        case "steps":
            return replace(
                proof, steps=tuple(data.draw(st.sampled_from([steps[1:], steps[:-1], steps[::-1], [*steps, step], []])))
            )
        case "sibling" if step.path:
            siblings = list(step.path)
            sibling = data.draw(st.integers(0, len(siblings) - 1))
            siblings[sibling] = flip(siblings[sibling], data)
            steps[place] = replace(step, path=tuple(siblings))
        case _:
            number = st.integers(-1, 9) | st.booleans()
            changes: dict[str, Any] = data.draw(
                st.fixed_dictionaries(
                    {}, optional={"index": number, "size": number, "label": st.sampled_from(["", "data", "x"])}
                )
            )
            steps[place] = replace(step, **changes)
    return replace(proof, steps=tuple(steps))


class TestConsistencyProofs:
    def test_what_was_filled_in_later_is_not_comparable(self) -> None:
        tree = example()
        everything = tree.state("after_training")
        for slot in ("data/training", "model/architecture"):
            older = TreeState("before_training", 1, tuple(s for s in everything.slots if s != slot))
            with pytest.raises(FormatError, match="data or model was filled in"):
                tree.prove_consistency(older, everything)
        older = TreeState("before_training", 1, tuple(s for s in everything.slots if s != "training/config"))
        with pytest.raises(FormatError, match="config or environment was filled in"):
            tree.prove_consistency(older, everything)

    def test_the_older_state_comes_first(self) -> None:
        tree = example()
        newer = tree.state("after_training")
        with pytest.raises(FormatError, match="phase 'after_training' is not earlier than phase 'before_training'"):
            tree.prove_consistency(newer, TreeState("before_training", 1, newer.slots))
        with pytest.raises(FormatError, match="is not earlier"):
            tree.prove_consistency(newer, TreeState("before_training", newer.epochs, ()))

    @pytest.mark.parametrize("older_epochs", [0, 1, 3, 4, 5])
    def test_every_field_is_bound(self, older_epochs: int) -> None:
        tree = example()
        before = TreeState("before_training", older_epochs, tree.state("p").slots)
        tree.set("training/results", MerkleNode.json("r", {"accuracy": 1}, "blake3"))
        older, newer = tree.root(before), tree.root("after_training")
        proof = tree.prove_consistency(before, "after_training")
        verify_consistency_proof(proof, older, newer)
        for change in consistency_changes(proof):
            with pytest.raises(VerificationError):
                verify_consistency_proof(replace(proof, **change), older, newer)
        with pytest.raises(RootMismatchError, match="another older root"):
            verify_consistency_proof(proof, newer, newer)
        with pytest.raises(RootMismatchError, match="another newer root"):
            verify_consistency_proof(proof, older, older)

    def test_results_are_given_once(self) -> None:
        tree = example()
        tree.set("training/results", MerkleNode.json("r", {"accuracy": 1}, "blake3"))
        first, root = tree.state("after_training"), tree.root("after_training")
        proof = tree.prove_consistency(first, "final")
        verify_consistency_proof(proof, root, tree.root("final"))
        tree.set("training/results", MerkleNode.json("r", {"accuracy": 2}, "blake3"))
        other = tree.prove_consistency(first, "final")
        lie = replace(other, older_results=proof.older_results)
        with pytest.raises(VerificationError, match="the results were replaced"):
            verify_consistency_proof(lie, root, tree.root("final"))


def consistency_changes(proof: ConsistencyProof) -> list[dict[str, Any]]:
    """One change for each field."""
    hashes = ("data", "model", "config", "environment", "older_results", "newer_results")
    changes: list[dict[str, Any]] = [
        {name: value}
        for name in (*hashes, "older_epochs_root", "newer_epochs_root")
        for value in (b"\x07" * 32, b"\x07" * 31, b"")
    ]
    changes += [
        {name: value}
        for name in ("older_epochs", "newer_epochs")
        for value in (-1, getattr(proof, name) + 1, getattr(proof, name) - 1, 2**64, True, 1.5)
    ]
    changes += [{name: value} for name in ("run_id", "older_phase", "newer_phase") for value in ("x", "", "\n")]
    return [*changes, {"path": (*proof.path, bytes(32))}, {"path": (*proof.path, b"")}]


class TestRows:
    @given(NODES)
    def test_round_trip(self, node: MerkleNode) -> None:
        path = escape_label(node.label)
        rows = node_rows(path, node)
        again, problems = node_from_rows(iter(rows), path)
        assert again == node
        assert not problems
        assert node_rows(path, again) == rows

    def test_takes_only_its_own_rows(self) -> None:
        one, other = MerkleNode.absent("a"), MerkleNode.branch("b", [MerkleNode.absent("x")])
        rows = iter([*node_rows("a", one), *node_rows("b", other)])
        assert node_from_rows(rows, "a")[0] == one
        assert node_from_rows(rows, "b")[0] == other
        assert next(rows, None) is None

    def test_depth_is_not_limited_by_recursion(self) -> None:
        node = MerkleNode.leaf("f", "file", digest(0))
        for _ in range(3000):
            node = MerkleNode.branch("d", [node])
        rows = node_rows("d", node)
        again, problems = node_from_rows(iter(rows), "d")
        assert again.hash == node.hash
        assert not problems

    NODE = MerkleNode.branch(
        "t",
        [
            MerkleNode.json("j", {"loss": 1}, "blake3"),
            MerkleNode.branch("b", [MerkleNode.leaf("f", "file", digest(1)), MerkleNode.absent("n")]),
        ],
    )

    @pytest.mark.parametrize(
        ("place", "change", "found"),
        [
            ("t/j", {"value": {"loss": 2}}, ["t/j: stored digest"]),
            ("t/j", {"digest": "blake3:" + "00" * 32}, ["t/j: stored digest"]),
            ("t/j", {"hash": "00" * 32}, ["t/j: stored hash 0000"]),
            ("t/j", {"hash": None}, ["t/j: stored hash None"]),
            ("t/j", {"kind": "file"}, ["t/j: the key 'value' is out of place"]),
            ("t/j", {"value": ...}, ["t/j: the key 'value' is missing"]),
            ("t/j", {"hash": ...}, ["t/j: the key 'hash' is missing"]),
            ("t/j", {"extra": 1}, ["t/j: the key 'extra' is out of place"]),
            ("t/j", {"size": 0}, ["t/j: the key 'size' is out of place"]),
            ("t/b/f", {"digest": "sha256:" + "00" * 32}, ["t/b/f: stored hash"]),
            ("t/b/f", {"digest": "blake3:" + digest(1).hex}, ["t/b/f: stored hash"]),
            ("t/b/f", {"kind": "array"}, ["t/b/f: stored hash"]),
            ("t/b/f", {"kind": "json"}, ["t/b/f: the key 'value' is missing"]),
            ("t/b/f", {"kind": "absent"}, ["t/b/f: the key 'digest' is out of place"]),
            ("t/b/f", {"path": "t/b/g"}, ["t/b/g: stored hash"]),
            ("t/b/n", {"hash": "00" * 32}, ["t/b/n: stored hash"]),
            ("t/b/n", {"digest": str(digest(1))}, ["t/b/n: the key 'digest' is out of place"]),
            ("t/b", {"hash": "00" * 32}, ["t/b: stored hash"]),
            ("t/b", {"size": ...}, ["t/b: the key 'size' is missing"]),
            ("t/b", {"digest": str(digest(1))}, ["t/b: the key 'digest' is out of place"]),
            ("t", {"hash": "00" * 32}, ["t: stored hash"]),
        ],
    )
    def test_one_change_is_named(self, place: str, change: dict[str, Any], found: list[str]) -> None:
        rows = changed_rows(self.NODE, place, change)
        _, problems = node_from_rows(iter(rows), "t")
        assert [str(problem)[: len(text)] for problem, text in zip(problems, found, strict=True)] == found
        assert [problem.path for problem in problems] == [text.partition(":")[0] for text in found]

    def test_all_damaged_rows_are_named_and_no_row_above_them(self) -> None:
        rows = node_rows("t", self.NODE)
        for row in rows:
            row["hash"] = "00" * 32
        _, problems = node_from_rows(iter(rows), "t")
        assert {problem.path for problem in problems} == {"t/j", "t/b/f", "t/b/n"}

    @pytest.mark.parametrize(
        ("place", "change", "message"),
        [
            ("t", {"path": "u"}, "1 row(s) of t are missing"),
            ("t", {"path": ...}, "1 row(s) of t are missing"),
            ("t", {"path": 7}, "1 row(s) of t are missing"),
            ("t", {"size": 3}, "1 row(s) of t are missing"),
            ("t", {"size": 10**12}, "row(s) of t are missing"),
            ("t/b", {"size": -1}, "the row of t/b: the size is not a number of children"),
            ("t/b", {"size": True}, "the row of t/b: the size is not a number of children"),
            ("t/b", {"size": "2"}, "the row of t/b: the size is not a number of children"),
            ("t/b", {"path": "t/b/x"}, "the row of a child of"),
            ("t/b/f", {"path": "t/f"}, "the row of a child of t/b is missing"),
            ("t/b/f", {"path": "t/b/n"}, "the row of t/b: two children of 'b' have one label"),
            ("t/b/f", {"path": "t/b/~2"}, "the row of t/b/~2: path segment"),
            ("t/b/f", {"path": "t/b/"}, "the row of t/b/: a label must be text"),
            ("t/b/f", {"kind": "File"}, "the row of t/b/f: 'File' is not a kind"),
            ("t/b/f", {"kind": ...}, "the row of t/b/f: there is no kind"),
            ("t/b/f", {"kind": 7}, "the row of t/b/f: there is no kind"),
            ("t/b/f", {"digest": ...}, "the row of t/b/f: digest '' names no algorithm"),
            ("t/b/f", {"digest": None}, "the row of t/b/f: a digest must be text"),
            ("t/b/f", {"digest": "sha256:" + "0" * 63 + "G"}, "the row of t/b/f: digest"),
            ("t/b/f", {"digest": "md5:" + "0" * 32}, "the row of t/b/f: unknown hash algorithm 'md5'"),
            ("t/j", {"value": float("nan")}, "the row of t/j: nan at / has no JSON form"),
        ],
    )
    def test_rows_that_make_no_tree(self, place: str, change: dict[str, Any], message: str) -> None:
        rows = changed_rows(self.NODE, place, change)
        with pytest.raises(FormatError) as caught:
            node_from_rows(iter(rows), "t")
        assert message in caught.value.message

    @pytest.mark.parametrize("broken", [[], [None], ["t"], [{}]])
    def test_no_rows(self, broken: list[Any]) -> None:
        with pytest.raises(FormatError, match=r"1 row\(s\) of t are missing"):
            node_from_rows(iter(broken), "t")

    @given(NODES, st.data())
    def test_a_changed_row_is_never_silent(self, node: MerkleNode, data: st.DataObject) -> None:
        path = escape_label(node.label)
        rows = node_rows(path, node)
        row = data.draw(st.sampled_from(rows))
        key = data.draw(st.sampled_from(sorted(row)))
        before = copy.deepcopy(row[key])
        row[key] = data.draw(
            st.sampled_from([None, 0, 1, "", "file", "absent", "branch", "00" * 32, str(digest(9)), {}])
        )
        check: Callable[[], Any] = lambda: node_from_rows(iter(rows), path)  # noqa: E731
        if row[key] == before and type(row[key]) is type(before):
            assert check()[0] == node
            return
        try:
            again, problems = check()
        except FormatError:
            return
        assert problems or again.hash != node.hash


def changed_rows(node: MerkleNode, place: str, change: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a node with one row changed; `...` takes a key away."""
    rows = node_rows(node.label, node)
    row = next(row for row in rows if row["path"] == place)
    row.update(change)
    for key in [key for key, value in row.items() if value is ...]:
        del row[key]
    return rows
