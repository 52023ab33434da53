# SPDX-License-Identifier: MIT
"""The project's own vectors: made by the oracles alone, agreed to by the product, quoted by the specification."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import struct
from pathlib import Path
from typing import Any

import oracles
import pytest

from mrv_core.canonical import canonical_bytes, parse_json
from mrv_core.errors import FormatError, MrvError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.merkle import LogTree, leaf_hash, verify_consistency, verify_inclusion
from mrv_core.proofs import ConsistencyProofFile, InclusionProofFile
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "vectors"


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / name).read_bytes())
    return document


@pytest.fixture(scope="module")
def merkle() -> dict[str, Any]:
    return load("merkle.json")


@pytest.fixture(scope="module")
def trees() -> dict[str, Any]:
    return load("provenance_tree.json")


@pytest.fixture(scope="module")
def canonical() -> dict[str, Any]:
    return load("canonical.json")


def test_files_are_what_the_script_writes(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "scripts" / "generate_vectors.py"))["write_all"](tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(path.name for path in FOLDER.glob("*.json"))
    for name in written:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), (
            f"run scripts/generate_vectors.py: {name}"
        )


# --- merkle.json


def unhex(path: list[str]) -> list[bytes]:
    return list(map(bytes.fromhex, path))


def inclusion(case: dict[str, Any]) -> None:
    leaf, root = bytes.fromhex(case["leaf_hash"]), bytes.fromhex(case["root"])
    verify_inclusion(leaf, case["index"], case["size"], unhex(case["path"]), root)


def consistency(case: dict[str, Any]) -> None:
    roots = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
    verify_consistency(case["size1"], case["size2"], *roots, unhex(case["path"]))


def test_merkle(merkle: dict[str, Any]) -> None:
    entries = unhex(merkle["entries"])
    tree = LogTree(entries)
    assert [leaf_hash(entry).hex() for entry in entries] == merkle["leaf_hashes"]
    assert [tree.root(size).hex() for size in range(len(entries) + 1)] == merkle["roots"]
    for case in merkle["inclusion"]:
        inclusion(case)
        assert tree.inclusion_proof(case["index"], case["size"]) == unhex(case["path"])
    for case in merkle["consistency"]:
        consistency(case)
        assert tree.consistency_proof(case["size1"], case["size2"]) == unhex(case["path"])


def test_merkle_refused(merkle: dict[str, Any]) -> None:
    assert merkle["refused_inclusion"]
    for case in merkle["refused_inclusion"]:
        path, leaf = unhex(case["path"]), bytes.fromhex(case["leaf_hash"])
        found = oracles.root_from_path(leaf, case["index"], case["size"], path)
        assert found is None or found.hex() != case["root"], case["reason"]
        with pytest.raises(VerificationError):
            inclusion(case)
    assert merkle["refused_consistency"]
    for case in merkle["refused_consistency"]:
        roots = bytes.fromhex(case["root1"]), bytes.fromhex(case["root2"])
        assert oracles.roots_from_proof(case["size1"], case["size2"], unhex(case["path"]), roots[0]) != roots
        with pytest.raises(VerificationError):
            consistency(case)


def test_merkle_indistinguishable(merkle: dict[str, Any]) -> None:
    case = merkle["indistinguishable"]
    assert [4, 5] in case["also_as"]
    for index, size in case["also_as"]:
        inclusion({**case, "index": index, "size": size})


# --- provenance_tree.json


def build(node: dict[str, Any]) -> MerkleNode:
    if node["kind"] == "absent":
        return MerkleNode.absent(node["label"])
    if node["kind"] == "branch":
        return MerkleNode.branch(node["label"], map(build, node["children"]))
    return MerkleNode.leaf(node["label"], node["kind"], Digest.parse(node["digest"]), node.get("value"))


def grow(run: dict[str, Any]) -> MLProvenanceMerkleTree:
    """Build a run through the public interface."""
    tree = MLProvenanceMerkleTree(run["run_id"])
    for branch in run["top"]:
        for child in branch["children"]:
            if child["label"] != "epochs" and child["kind"] != "absent":
                tree.set(f"{branch['label']}/{child['label']}", build(child))
    for epoch in run["top"][2]["children"][3]["children"]:
        tree.append_epoch_node(build(epoch))
    return tree


def test_trees(trees: dict[str, Any]) -> None:
    for run in trees["runs"]:
        tree = grow(run)
        assert str(tree.root(run["phase"])) == run["root"]
        nodes = [{"path": path, "kind": node.kind, "hash": node.hash.hex()} for path, node in tree.walk()]
        assert nodes == run["nodes"]
        for path, node in tree.walk():
            assert tree.node(path) == node


def test_tree_inclusion_proofs(trees: dict[str, Any]) -> None:
    runs = {run["root"]: run for run in trees["runs"]}
    for value in trees["inclusion"]:
        file = InclusionProofFile.from_json(value, what="vector")
        file.verify(Digest.parse(value["root"]))
        run = runs[value["root"]]
        tree, root = grow(run), Digest.parse(run["root"])
        node = tree.node(value["path"])
        made = InclusionProofFile.from_proof(tree.prove(value["path"], run["phase"]), root, node)
        assert made.to_json() == value
        assert file.to_proof().node_hash == node.hash


def test_tree_consistency_proofs(trees: dict[str, Any]) -> None:
    newest = grow(trees["runs"][-1])
    states = {str(tree.root(run["phase"])): tree.state(run["phase"]) for run in trees["runs"] for tree in [grow(run)]}
    for value in trees["consistency"]:
        file = ConsistencyProofFile.from_json(value, what="vector")
        older, newer = Digest.parse(value["older_root"]), Digest.parse(value["newer_root"])
        file.verify(older, newer)
        proof = newest.prove_consistency(states[str(older)], states[str(newer)])
        assert ConsistencyProofFile.from_proof(proof, older, newer).to_json() == value


def check_file(model: type[InclusionProofFile | ConsistencyProofFile], value: dict[str, Any]) -> None:
    """Check a proof file against the root or roots that it names."""
    file = model.from_json(value, what="vector")
    if isinstance(file, InclusionProofFile):
        file.verify(file.root)
    else:
        file.verify(file.older_root, file.newer_root)


def test_lies_are_refused_by_product_and_oracle(trees: dict[str, Any]) -> None:
    assert trees["refused_inclusion"]
    for case in trees["refused_inclusion"]:
        assert oracles.inclusion_root(case["proof"]) != case["proof"]["root"], case["reason"]
        with pytest.raises(MrvError):
            check_file(InclusionProofFile, case["proof"])
    assert trees["refused_consistency"]
    for case in trees["refused_consistency"]:
        proof = case["proof"]
        assert oracles.consistency_roots(proof) != (proof["older_root"], proof["newer_root"]), case["reason"]
        with pytest.raises(MrvError):
            check_file(ConsistencyProofFile, proof)


def test_oracles_accept_the_good_proofs(trees: dict[str, Any]) -> None:
    for proof in trees["inclusion"]:
        assert oracles.inclusion_root(proof) == proof["root"]
    for proof in trees["consistency"]:
        assert oracles.consistency_roots(proof) == (proof["older_root"], proof["newer_root"])


# --- canonical.json


def test_canonical(canonical: dict[str, Any]) -> None:
    for case in canonical["texts"]:
        assert canonical_bytes(parse_json(case["json"].encode(), what="x")).decode() == case["canonical"]
        assert canonical_bytes(parse_json(case["canonical"].encode(), what="x")).decode() == case["canonical"]
    for bits, text in canonical["doubles"]:
        (value,) = struct.unpack(">d", bytes.fromhex(bits))
        assert canonical_bytes(value).decode() == text
        assert parse_json(text.encode(), what="x") == value


def test_canonical_refused(canonical: dict[str, Any]) -> None:
    assert canonical["refused"]
    for case in canonical["refused"]:
        with pytest.raises(FormatError):
            parse_json(bytes.fromhex(case["hex"]), what=case["reason"])


# --- the examples in docs/spec


def blocks(page: str) -> list[str]:
    return re.findall(r"^```(?:json)?\n(.*?)^```", (ROOT / "docs" / "spec" / page).read_text("utf-8"), re.M | re.S)


def test_example_of_the_merkle_page(trees: dict[str, Any]) -> None:
    document = parse_json(blocks("merkle.md")[0].encode(), what="docs/spec/merkle.md")
    assert document in trees["inclusion"]


def test_example_of_the_json_page() -> None:
    written, form = blocks("json.md")[:2]
    text, digest = form.splitlines()
    data = canonical_bytes(parse_json(written.encode(), what="docs/spec/json.md"))
    assert data == text.encode()
    assert hashlib.sha256(data).hexdigest() == digest
