# SPDX-License-Identifier: MIT
"""Proof files: written, read back, verified, and refused in every malformed shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mrv_core.canonical import canonical_bytes
from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.proofs import ConsistencyProofFile, InclusionProofFile
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree


@pytest.fixture
def tree() -> MLProvenanceMerkleTree:
    tree = MLProvenanceMerkleTree("run-1")
    tree.set("data/training", MerkleNode.leaf("x", "array", Digest("blake3", bytes(32))))
    tree.set("training/config", MerkleNode.json("x", {"flops": 1e20, "note": None}, "blake3"))
    tree.set("training/environment", MerkleNode.json("x", None, "sha256"))
    tree.append_epoch(0, metrics=MerkleNode.json("x", {"loss": 0.5}, "sha3-256"))
    tree.append_epoch(1)
    return tree


def prove(tree: MLProvenanceMerkleTree, path: str, *, show: bool = True) -> InclusionProofFile:
    root, node = tree.root("after_training"), tree.node(path)
    return InclusionProofFile.from_proof(tree.prove(path, "after_training"), root, node if show else None)


def test_every_node_round_trips(tree: MLProvenanceMerkleTree) -> None:
    root = tree.root("after_training")
    for path, node in tree.walk():
        file = prove(tree, path)
        data = file.to_bytes()
        again = InclusionProofFile.from_bytes(data, what="proof")
        assert again == file
        assert again.to_bytes() == data == canonical_bytes(file.to_json())
        again.verify(root)
        assert again.to_proof() == tree.prove(path, "after_training")
        expected = {"branch": {"size", "children_root"}, "absent": set(), "json": {"digest", "value"}}
        own = set(json.loads(data)) & {"size", "children_root", "digest", "value"}
        assert own == expected.get(node.kind, {"digest"})


def test_a_value_need_not_be_shown(tree: MLProvenanceMerkleTree) -> None:
    file = prove(tree, "training/config", show=False)
    assert b"flops" not in file.to_bytes()
    file.verify(tree.root("after_training"))


@pytest.mark.parametrize("path", ["training/config", "training/environment", "training/epochs/0/metrics"])
@pytest.mark.parametrize("value", [{"flops": 2e20, "note": None}, {}, "", 0, False, None])
def test_another_value_is_named(tree: MLProvenanceMerkleTree, path: str, value: Any) -> None:
    file = InclusionProofFile.from_json(prove(tree, path).to_json() | {"value": value}, what="proof")
    if value == tree.node(path).value:
        file.verify(tree.root("after_training"))
        return
    with pytest.raises(RootMismatchError, match=f"the value shown for '{path}' is not the one in the tree"):
        file.verify(tree.root("after_training"))


@pytest.mark.parametrize("path", ["data/training", "data/test", "training/epochs"])
def test_only_a_json_leaf_shows_a_value(tree: MLProvenanceMerkleTree, path: str) -> None:
    file = InclusionProofFile.from_json(prove(tree, path).to_json() | {"value": None}, what="proof")
    with pytest.raises(VerificationError, match="shows a value, but the node is not a json leaf"):
        file.verify(tree.root("after_training"))


def test_the_root_is_the_caller_s(tree: MLProvenanceMerkleTree) -> None:
    """A proof never brings its own trust: it must fit a root that comes from elsewhere."""
    file = prove(tree, "data/training")
    with pytest.raises(RootMismatchError, match="the proof was made for another root"):
        file.verify(tree.root("before_training"))
    claimed = file.model_copy(update={"root": tree.root("before_training")})
    with pytest.raises(RootMismatchError, match="leads to another root"):
        claimed.verify(tree.root("before_training"))


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"format": ...}, "format"),
    ({"format": "mrv-proof/2"}, "format"),
    ({"extra": 1}, "extra"),
    ({"steps": ...}, "steps"),
    ({"steps": {}}, "steps"),
    ({"path": None}, "path"),
    ({"digest": "md5:" + "00" * 32}, "unknown hash algorithm 'md5'"),
    ({"digest": "00" * 32}, "names no algorithm"),
    ({"root": 7}, "root"),
    ({"size": -1}, "size"),
    ({"size": "3"}, "size"),
    ({"size": True}, "size"),
    ({"size": 2.5}, "size"),
    ({"size": 2.0**53}, "size"),
    ({"children_root": "AB" * 32}, "children_root"),
    ({"children_root": "00" * 31}, "children_root"),
    ({"children_root": 7}, "children_root"),
]


@pytest.mark.parametrize(("change", "message"), MALFORMED)
def test_malformed_inclusion_files(tree: MLProvenanceMerkleTree, change: dict[str, Any], message: str) -> None:
    value = {k: v for k, v in (prove(tree, "training/config").to_json() | change).items() if v is not ...}
    with pytest.raises(FormatError, match=message):
        InclusionProofFile.from_bytes(canonical_bytes(value), what="proof.json")


@pytest.mark.parametrize(
    "step",
    [{}, {"label": "", "index": 0, "size": 1}, {"label": "", "index": "0", "size": 1, "path": []}, 7],
)
def test_malformed_steps(tree: MLProvenanceMerkleTree, step: Any) -> None:
    value = prove(tree, "training/config").to_json() | {"steps": [step]}
    with pytest.raises(FormatError, match=r"proof\.json: steps\.0"):
        InclusionProofFile.from_json(value, what="proof.json")


def test_files_are_parsed_strictly() -> None:
    for data in (b"", b"[]", b"null", b"\xff", b'{"format":"mrv-proof/1","format":"mrv-proof/1"}', b"[" * 70_000):
        for model in (InclusionProofFile, ConsistencyProofFile):
            with pytest.raises(FormatError, match=r"^proof\.json: "):
                model.from_bytes(data, what="proof.json")


def test_consistency_round_trips(tree: MLProvenanceMerkleTree) -> None:
    state, older = tree.state("before_training"), tree.root("before_training")
    tree.append_epoch(5)
    newer = tree.root("after_training")
    proof = tree.prove_consistency(state, "after_training")
    file = ConsistencyProofFile.from_proof(proof, older, newer)
    again = ConsistencyProofFile.from_bytes(file.to_bytes(), what="proof")
    assert again == file
    assert again.to_proof() == proof
    again.verify(older, newer)
    for roots in ((newer, newer), (older, older), (newer, older)):
        with pytest.raises(RootMismatchError, match="the proof was made for another root"):
            again.verify(*roots)
    with pytest.raises(RootMismatchError, match="leads to another older root"):
        again.model_copy(update={"older_root": newer}).verify(newer, newer)


@pytest.mark.parametrize(
    "change",
    [
        {"format": ...},
        {"format": "mrv-proof/1"},
        {"older_epochs": -1},
        {"newer_epochs": "3"},
        {"data": None},
        {"model": "zz" * 32},
        {"path": ["00"]},
        {"extra": 1},
        {"older_root": ...},
    ],
)
def test_malformed_consistency_files(tree: MLProvenanceMerkleTree, change: dict[str, Any]) -> None:
    root = tree.root("p")
    good = ConsistencyProofFile.from_proof(tree.prove_consistency(tree.state("p"), "p"), root, root).to_json()
    value = {k: v for k, v in (good | change).items() if v is not ...}
    with pytest.raises(FormatError, match=next(iter(change))):
        ConsistencyProofFile.from_bytes(canonical_bytes(value), what="proof.json")
