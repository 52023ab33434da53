# SPDX-License-Identifier: MIT
"""The way from a file to a root: the operations compute what is hashed by hand, as docs/spec/merkle.md says."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_btc.ots_path import Way, apply_all, batch_operations, way_from
from mrv_core.batching import Batch
from mrv_core.canonical import canonical_bytes
from mrv_core.errors import FormatError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import tree_root
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree

CONTENT = b"the bytes of a file\n"


def tree_with(epochs: int, algorithm: str = "sha256") -> MLProvenanceMerkleTree:
    tree = MLProvenanceMerkleTree("digits-1")
    folder = MerkleNode.branch(
        "f", [MerkleNode.leaf(f"a~/{i}.csv", "file", HashFactory.digest(CONTENT, algorithm)) for i in range(7)]
    )
    tree.set("data/training", folder)
    tree.set("data/test", MerkleNode.leaf("x", "array", HashFactory.digest(b"array", algorithm)))
    tree.set("training/config", MerkleNode.json("c", {"lr": 0.1}, algorithm))
    for epoch in range(epochs):
        tree.append_epoch(epoch, metrics=MerkleNode.json("m", {"loss": epoch + 0.5}, algorithm))
    return tree


def reached(way: Way) -> bytes:
    return apply_all(way.digest, way.operations)


class TestWays:
    @given(st.integers(0, 40), st.data())
    def test_every_node_and_every_leaf_leads_to_the_root(self, epochs: int, data: st.DataObject) -> None:
        tree = tree_with(epochs)
        root = tree.root("after_training")
        path, node = data.draw(st.sampled_from(list(tree.walk())))
        proof = tree.prove(path, "after_training")
        way = way_from(proof, root, "node")
        assert way.file is not None
        assert way.digest == sha256(way.file).digest() == node.hash
        assert reached(way) == root.value
        if node.kind in ("file", "json"):
            way = way_from(proof, root, "content")
            assert (way.digest, way.file) == (node.digest.value, None)
            assert reached(way) == root.value
        assert way_from(proof, root, "root").operations == ()

    def test_the_file_of_the_root_is_what_was_hashed(self) -> None:
        tree = tree_with(3)
        root = tree.root("after_training")
        way = way_from(tree.prove("model/weights", "after_training"), root, "root")
        top = tree_root(tree.node(name).hash for name in ("data", "model", "training"))
        sizes = [(8).to_bytes(8, "big"), (14).to_bytes(8, "big"), (3).to_bytes(8, "big")]
        assert way.file == b"mrv1/run\x00" + sizes[0] + b"digits-1" + sizes[1] + b"after_training" + sizes[2] + top
        assert sha256(way.file).digest() == way.digest == root.value

    def test_the_file_of_a_leaf_names_its_digest(self) -> None:
        """So a BLAKE3 digest, which OpenTimestamps does not know, is stamped through the file that holds it."""
        tree = tree_with(1, "blake3")
        proof = tree.prove("data/training/a~0~13.csv", "after_training")
        way = way_from(proof, tree.root("after_training"), "node")
        assert way.file is not None
        assert way.file.endswith(HashFactory.digest(CONTENT, "blake3").value)
        assert b"a~/3.csv" in way.file
        assert b"blake3" in way.file

    def test_content_has_the_digest_that_sha256sum_prints(self) -> None:
        tree = tree_with(1)
        root = tree.root("after_training")
        for path, content in (
            ("data/training/a~0~15.csv", CONTENT),
            ("training/epochs/0/metrics", canonical_bytes({"loss": 0.5})),
        ):
            way = way_from(tree.prove(path, "after_training"), root, "content")
            assert way.digest == sha256(content).digest()


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "algorithm", "message"),
        [
            ("data/test", "sha256", "of kind 'array'"),
            ("training/config", "blake3", "known by a blake3 digest"),
            ("data/training", "sha256", "no leaf"),
            ("model/weights", "sha256", "no leaf"),
        ],
    )
    def test_content_without_a_file(self, path: str, algorithm: str, message: str) -> None:
        tree = tree_with(1, algorithm)
        proof = tree.prove(path, "after_training")
        with pytest.raises(FormatError, match=message) as failure:
            way_from(proof, tree.root("after_training"), "content")
        assert "export the node itself" in str(failure.value.hint)

    def test_a_proof_of_another_root(self) -> None:
        tree = tree_with(2)
        proof = tree.prove("training/config", "after_training")
        for part in ("content", "node", "root"):
            with pytest.raises(RootMismatchError):
                way_from(proof, tree.root("before_training"), part)


class TestBatches:
    @given(st.integers(1, 70), st.data())
    def test_every_member_leads_to_the_commitment(self, size: int, data: st.DataObject) -> None:
        batch = Batch([HashFactory.digest(b"%d" % number, "sha256") for number in range(size)])
        member = batch.members[data.draw(st.integers(0, size - 1))]
        proof = batch.prove(member)
        steps = batch_operations(member.value, proof.index, proof.size, proof.path)
        assert apply_all(member.value, steps) == batch.commitment.value

    @pytest.mark.parametrize(("index", "size", "shorter"), [(5, 5, 0), (0, 5, 1), (1, 4, 0), (0, 6, 0)])
    def test_a_place_that_does_not_suit_is_refused_or_leads_elsewhere(
        self, index: int, size: int, shorter: int
    ) -> None:
        batch = Batch([HashFactory.digest(b"%d" % number, "sha256") for number in range(5)])
        proof = batch.prove(batch.members[0])
        path = proof.path[: len(proof.path) - shorter]
        try:
            steps = batch_operations(batch.members[0].value, index, size, path)
        except VerificationError:
            return
        assert apply_all(batch.members[0].value, steps) != batch.commitment.value

    def test_members_are_bytes_of_any_commitment(self) -> None:
        entry = Digest("sha256", bytes(32))
        [proof] = [Batch([entry]).prove(entry)]
        steps = batch_operations(entry.value, 0, 1, proof.path)
        leaf = sha256(b"\x00" + entry.value).digest()
        expected = sha256(b"mrv1/batch\x00" + (1).to_bytes(8, "big") + leaf).digest()
        assert apply_all(entry.value, steps) == expected == proof.batch.value
