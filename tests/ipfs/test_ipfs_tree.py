# SPDX-License-Identifier: MIT
"""The tree of a run as linked blocks: any node can be fetched by its path name and checked, from a file or a daemon."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import dag_cbor
import pytest
from fault_modes import Reply, Request
from faulty import FaultServer, forward_to
from hypothesis import given
from hypothesis import strategies as st

from mrv_backends_ipfs.car import CarArchive, car_bytes
from mrv_backends_ipfs.cbor import decode, encode
from mrv_backends_ipfs.cid import DAG_CBOR, Cid
from mrv_backends_ipfs.dag import CHILDREN_PER_BLOCK, SELF, PublishedTree, blocks_of_tree
from mrv_backends_ipfs.driver import IpfsDriver
from mrv_backends_ipfs.evidence import MAX_BLOCK_BYTES
from mrv_backends_ipfs.published import PublishedNode, read_node
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendUnavailableError,
    ConfigurationError,
    FormatError,
    MrvError,
    RootMismatchError,
    VerificationError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.merkle import LogTree, tree_root
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree, verify_node_proof
from mrv_devnet.nodes import IpfsNode

WHOLE_ANSWERS = ("html", "json-null", "json-object", "cut-json")
"""Faults that are a whole answer of HTTP."""
MakeDriver = Callable[..., IpfsDriver]
PHASE = "after_training"
CONFIG = {"lr": 0.1, "layers": [1, 2.0, None, True], "name": "Ω \u202e \x00", "": {}}


def digest_of(text: str, algorithm: str = "blake3") -> Digest:
    return HashFactory.digest(text.encode(), algorithm)


def file(label: str) -> MerkleNode:
    return MerkleNode.leaf(label, "file", digest_of(label))


def run_with(children: list[MerkleNode], epochs: int = 3) -> MLProvenanceMerkleTree:
    tree = MLProvenanceMerkleTree("run-1")
    tree.set("data/training", MerkleNode.branch("training", children))
    tree.set("model/weights", MerkleNode.leaf("weights", "array", digest_of("weights", "sha3-256")))
    tree.set("training/config", MerkleNode.json("config", CONFIG, "blake3"))
    for epoch in range(epochs):
        tree.append_epoch(epoch * 10, metrics=MerkleNode.json("metrics", {"loss": 1 / (epoch + 1)}, "sha256"))
    return tree


ODD_LABELS = ["~", "/", "a/b.csv", "~0", "..", ".", "é", "e\u0301", " ", "~1", "0", "kind", "\u202e", "x" * 4096]


@pytest.fixture(scope="module")
def tree() -> MLProvenanceMerkleTree:
    return run_with(
        [*map(file, ODD_LABELS), MerkleNode.branch("folder", [file("inner"), MerkleNode.branch("empty", [])])]
    )


def memory(blocks: dict[Cid, bytes]) -> Callable[[Cid], bytes]:
    def read(cid: Cid) -> bytes:
        if cid not in blocks:
            raise AnchorNotFoundError(f"no {cid}")
        return blocks[cid]

    return read


def published(tree: MLProvenanceMerkleTree, *, values: bool = False) -> tuple[PublishedTree, dict[Cid, bytes]]:
    return blocks_of_tree(tree, PHASE, values=values)


def test_every_node_of_a_run_is_fetched_and_proven(tree: MLProvenanceMerkleTree) -> None:
    made, blocks = published(tree)
    root = tree.root(PHASE)
    assert made.root == root
    seen = 0
    for path, node in tree.walk(PHASE):
        fetched = read_node(memory(blocks), made.cid, path, root)
        assert fetched.proof == tree.prove(path, PHASE)
        assert fetched.proof.node_hash == node.hash
        assert fetched.root == root
        assert Cid.of(blocks[fetched.cid], DAG_CBOR) == fetched.cid
        seen += 1
    assert seen >= 40


def test_blocks_are_dag_cbor_that_an_independent_library_reads(tree: MLProvenanceMerkleTree) -> None:
    made, blocks = published(tree, values=True)
    linked = {made.cid}
    for block in blocks.values():
        value = dag_cbor.decode(block)
        assert dag_cbor.encode(value) == block
        linked |= {Cid.from_bytes(bytes(link)) for link in value.values() if type(link).__name__ == "CID"}
    assert linked == blocks.keys()
    assert next(iter(blocks)) == made.cid
    assert (made.blocks, made.size) == (len(blocks), sum(map(len, blocks.values())))


def test_an_ipld_path_is_the_path_name(tree: MLProvenanceMerkleTree) -> None:
    made, blocks = published(tree)
    for path, node in tree.walk(PHASE):
        cid = made.cid
        for segment in path.split("/"):
            link = decode(blocks[cid])[segment]  # type: ignore[index,call-overload]
            assert isinstance(link, Cid)
            cid = link
        block = decode(blocks[cid])
        assert isinstance(block, dict)
        own = block.get(SELF, block)
        assert (own["kind"], own["label"]) == (node.kind, node.label)  # type: ignore[call-overload,index]


def test_values_are_published_only_when_asked_for(tree: MLProvenanceMerkleTree) -> None:
    made, blocks = published(tree)
    assert read_node(memory(blocks), made.cid, "training/config", None).json is None
    assert not any(b"loss" in block for block in blocks.values())
    made, blocks = published(tree, values=True)
    config = read_node(memory(blocks), made.cid, "training/config", made.root)
    assert json.loads(config.json or "") == CONFIG
    assert digest_of(config.json or "") == config.proof.digest
    assert read_node(memory(blocks), made.cid, "training/epochs/20/metrics", None).json == '{"loss":0.3333333333333333}'


def test_publishing_is_repeatable_and_earlier_states_stay_published(tree: MLProvenanceMerkleTree) -> None:
    before = tree.state("before_training")
    grown = run_with([file("a")], epochs=2)
    assert published(grown) == published(run_with([file("a")], epochs=2))
    early = blocks_of_tree(grown, type(before)("epoch_checkpoint", 1, grown.state("x").slots), values=False)
    assert early[0].cid != published(grown)[0].cid
    fetched = read_node(memory(early[1]), early[0].cid, "training/epochs/0/metrics", None)
    assert fetched.proof.phase == "epoch_checkpoint"
    with pytest.raises(FormatError, match="no node"):
        read_node(memory(early[1]), early[0].cid, "training/epochs/10/metrics", None)


@pytest.mark.parametrize("size", [1, 2, 1023, 1024, 1025, 2048, 2049, 3000, 5119])
def test_wide_branches_are_cut_into_complete_subtrees(size: int) -> None:
    wide = run_with([file(f"{number}.png") for number in range(size)])
    made, blocks = published(wide)
    assert max(map(len, blocks.values())) <= MAX_BLOCK_BYTES
    branch = decode(blocks[read_node(memory(blocks), made.cid, "data/training", made.root).cid])
    assert isinstance(branch, dict)
    own = branch[SELF]
    assert isinstance(own, dict)
    assert own["size"] == size
    assert ("width" in own) is (size > CHILDREN_PER_BLOCK)
    for number in {0, 1 % size, size // 2, size - 1, min(1023, size - 1), min(1024, size - 1)}:
        path = f"data/training/{number}.png"
        assert read_node(memory(blocks), made.cid, path, made.root).proof == wide.prove(path, PHASE)


@given(st.integers(1, 70), st.sampled_from([1, 2, 4, 8, 16]))
def test_subtrees_of_a_power_of_two_join_to_the_same_root(size: int, width: int) -> None:
    hashes = [bytes([number]) * 32 for number in range(size)]
    upper = LogTree()
    upper.extend_leaves(tree_root(hashes[start : start + width]) for start in range(0, size, width))
    assert upper.root() == tree_root(hashes)


def test_long_labels_make_narrower_parts_and_no_block_is_too_large() -> None:
    labels = [f"{number:05}" + "~" * 4091 for number in range(600)]  # each '~' is written as two characters
    tree = run_with([file(label) for label in labels])
    made, blocks = published(tree)
    assert max(map(len, blocks.values())) <= MAX_BLOCK_BYTES
    for label in (labels[0], labels[63], labels[64], labels[-1]):
        path = f"data/training/{label.replace('~', '~0')}"
        assert read_node(memory(blocks), made.cid, path, made.root).proof == tree.prove(path, PHASE)


def test_deep_trees_need_no_recursion() -> None:
    node = file("bottom")
    for depth in range(1500):
        node = MerkleNode.branch(f"{depth}", [node])
    tree = run_with([node])
    made, blocks = published(tree)
    path = "data/training/" + "/".join(str(depth) for depth in reversed(range(1500))) + "/bottom"
    assert read_node(memory(blocks), made.cid, path, made.root).proof == tree.prove(path, PHASE)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "data/",
            "data//training",
            "nothing",
            "data/training/a",
            "data/training/a/b.csv",
            "training/config/",
        ),
        *("training/config/digest", "~", "data/~", "data/training/~2", "DATA", "training/epochs/1"),
        "data/training/folder/0",
    ],
)
def test_a_node_that_is_not_there_is_said_not_to_be(tree: MLProvenanceMerkleTree, path: str) -> None:
    made, blocks = published(tree)
    with pytest.raises(FormatError) as caught:
        read_node(memory(blocks), made.cid, path, made.root)
    assert not isinstance(caught.value, VerificationError)


def test_the_tree_of_another_run_is_refused(tree: MLProvenanceMerkleTree) -> None:
    made, blocks = published(tree)
    with pytest.raises(RootMismatchError):
        read_node(memory(blocks), made.cid, "training/config", digest_of("another", "sha256"))
    with pytest.raises(RootMismatchError):
        read_node(memory(blocks), made.cid, "training/config", tree.root("before_training"))


def test_every_flipped_byte_of_every_block_on_the_way_is_noticed(tree: MLProvenanceMerkleTree) -> None:
    made, blocks = published(tree, values=True)
    path = "training/epochs/10/metrics"
    way: list[Cid] = []

    def watched(cid: Cid) -> bytes:
        way.append(cid)
        return blocks[cid]

    read_node(watched, made.cid, path, made.root)
    assert len(way) == 5
    for cid in way:
        block = blocks[cid]
        for position in range(0, len(block), 7):
            flipped = block[:position] + bytes([block[position] ^ 4]) + block[position + 1 :]
            with pytest.raises(VerificationError, match=str(cid)):
                read_node(memory({**blocks, cid: flipped}), made.cid, path, made.root)
        for other in (b"", block + b"\0", b"<html>", blocks[made.cid] if cid != made.cid else b"\xa0", block * 30_000):
            with pytest.raises(VerificationError, match=str(cid)):
                read_node(memory({**blocks, cid: other}), made.cid, path, made.root)


def rebuilt(
    blocks: dict[Cid, bytes], made: PublishedTree, path: str, change: Callable[[dict], object]
) -> tuple[Cid, dict[Cid, bytes]]:  # type: ignore[type-arg]
    """Change the block of one node as a liar would: every link above it is made anew, so that all CIDs are right."""
    trail, cid = [made.cid], made.cid
    for segment in filter(None, path.split("/")):
        cid = decode(blocks[cid])[segment]  # type: ignore[index,call-overload,assignment]
        trail.append(cid)
    value = decode(blocks[trail[-1]])
    assert isinstance(value, dict)
    change(value)
    new, forged = dict(blocks), encode(value)
    for depth in reversed(range(len(trail))):
        cid = Cid.of(forged, DAG_CBOR)
        new[cid] = forged
        if depth:
            parent = decode(new[trail[depth - 1]])
            assert isinstance(parent, dict)
            parent[path.split("/")[depth - 1]] = cid
            forged = encode(parent)
    return cid, new


OTHER_DIGEST = str(digest_of("forged"))
FORGERIES: dict[str, tuple[str, Callable[..., object]]] = {
    "another digest": ("training/config", lambda block: block.update(digest=OTHER_DIGEST)),
    "another kind": ("training/config", lambda block: block.update(kind="file")),
    "another label": ("training/config", lambda block: block.update(label="results")),
    "an absent node": ("training/config", lambda block: (block.clear(), block.update(kind="absent", label="config"))),
    "a branch without links": (
        "training/config",
        lambda block: (block.clear(), block.update(kind="branch", label="config")),
    ),
    "no kind": ("training/config", lambda block: block.pop("kind")),
    "a kind that is a number": ("training/config", lambda block: block.update(kind=1)),
    "another key": ("training/config", lambda block: block.update(more=1)),
    "another value": ("training/config", lambda block: block.update(json="{}")),
    "a digest without algorithm": ("training/config", lambda block: block.update(digest="00" * 32)),
    "another size": ("training", lambda block: block[SELF].update(size=5)),
    "another label of a branch": ("training", lambda block: block[SELF].update(label="data")),
    "another hash": ("training", lambda block: block[SELF].update(hashes=block[SELF]["hashes"][32:] + bytes(32))),
    "hashes cut off": ("training", lambda block: block[SELF].update(hashes=block[SELF]["hashes"][:-1])),
    "one hash less": ("training", lambda block: block[SELF].update(hashes=block[SELF]["hashes"][32:], size=3)),
    "hashes in another order": (
        "training",
        lambda block: block[SELF].update(hashes=block[SELF]["hashes"][64:] + block[SELF]["hashes"][:64]),
    ),
    "two labels for one link": ("training", lambda block: block.update(config=block["environment"])),
    "a link less": ("training", lambda block: block.pop("results")),
    "text instead of a link": ("training", lambda block: block.update(results="bafy")),
    "links of a part": ("training", lambda block: block[SELF].update(kind="part")),
    "a width without parts": ("training", lambda block: block[SELF].update(width=1024)),
    "another run": ("", lambda block: block[SELF].update(run_id="run-2")),
    "another phase": ("", lambda block: block[SELF].update(phase="before_training")),
    "a run id that none can be": ("", lambda block: block[SELF].update(run_id="../run")),
    "another root": ("", lambda block: block[SELF].update(root=str(digest_of("x", "sha256")))),
    "another format": ("", lambda block: block[SELF].update(format="mrv-tree/2")),
    "no top": ("", lambda block: (block.pop("model"), block[SELF].update(size=2, hashes=block[SELF]["hashes"][:64]))),
}


@pytest.mark.parametrize(("path", "change"), FORGERIES.values(), ids=FORGERIES)
def test_a_tree_that_does_not_lead_to_the_root_is_wrong_although_every_cid_is_right(
    tree: MLProvenanceMerkleTree, path: str, change: Callable[..., object]
) -> None:
    made, blocks = published(tree)
    cid, forged = rebuilt(blocks, made, path, change)
    assert cid != made.cid
    for root in (made.root, None):
        with pytest.raises(VerificationError):
            read_node(memory(forged), cid, "training/config", root)


WIDE_FORGERIES: dict[str, Callable[..., object]] = {
    "parts exchanged": lambda block: block.update({"0": block["1"], "1": block["0"]}),
    "a part twice": lambda block: block.update({"1": block["0"]}),
    "another width": lambda block: block[SELF].update(width=2048),
    "a width that is no power of two": lambda block: block[SELF].update(width=1000),
    "no width": lambda block: block[SELF].update(width=0),
    "another size": lambda block: block[SELF].update(size=1501),
    "a huge size": lambda block: block[SELF].update(size=2**62),
    "roots exchanged": lambda block: block[SELF].update(parts=block[SELF]["parts"][32:] + block[SELF]["parts"][:32]),
    "a root less": lambda block: block[SELF].update(parts=block[SELF]["parts"][:32]),
    "a part less": lambda block: block.pop("1"),
    "a part of another name": lambda block: block.update({"x": block.pop("1")}),
}


@pytest.mark.parametrize("change", WIDE_FORGERIES.values(), ids=WIDE_FORGERIES)
def test_a_wide_branch_never_proves_anything_else(change: Callable[..., object]) -> None:
    wide = run_with([file(f"{number}") for number in range(1500)])
    made, blocks = published(wide)
    cid, forged = rebuilt(blocks, made, "data/training", change)
    refused = 0
    for path in ("data/training/5", "data/training/1400"):
        try:
            fetched = read_node(memory(forged), cid, path, made.root)
        except VerificationError:
            refused += 1
        except FormatError as error:  # the only link to it was taken away
            refused += "no node" in error.message
        else:
            assert fetched.proof == wide.prove(path, PHASE)
    assert refused > 0


def test_a_value_that_is_not_its_digests_is_never_published() -> None:
    tree = run_with([file("a")])
    tree.set("training/results", MerkleNode.leaf("results", "json", digest_of("{}"), {"accuracy": 1}))
    published(tree)
    with pytest.raises(FormatError, match="results"):
        published(tree, values=True)


def test_a_value_that_fits_into_no_block_is_refused_and_the_tree_is_published_without() -> None:
    tree = run_with([file("a")])
    tree.set("training/results", MerkleNode.json("results", "x" * MAX_BLOCK_BYTES, "sha256"))
    published(tree)
    with pytest.raises(FormatError, match="do not fit") as caught:
        published(tree, values=True)
    assert "without values" in (caught.value.hint or "")


# --- the offline store ---------------------------------------------------------------------------------------------


def test_the_offline_store_keeps_a_tree_as_one_archive(
    driver: IpfsDriver, tree: MLProvenanceMerkleTree, store_dir: Path
) -> None:
    made = driver.publish_tree(tree, PHASE)
    archive = CarArchive((store_dir / "cars" / f"{made.cid}.car").read_bytes())
    assert archive.roots == (made.cid,)
    assert archive.blocks() == published(tree)[1]
    fetched = driver.fetch_leaf(str(made.cid), "data/training/a~1b.csv", tree.root(PHASE))
    assert fetched.proof.digest == digest_of("a/b.csv")
    before = (store_dir / "cars" / f"{made.cid}.car").stat().st_mtime_ns
    assert driver.publish_tree(tree, tree.state(PHASE)) == made
    assert (store_dir / "cars" / f"{made.cid}.car").stat().st_mtime_ns == before


def test_a_tree_that_is_not_there_is_not_found_and_a_damaged_one_is_wrong(
    make_driver: MakeDriver, driver: IpfsDriver, tree: MLProvenanceMerkleTree, store_dir: Path, tmp_path: Path
) -> None:
    made = driver.publish_tree(tree, PHASE)
    path = store_dir / "cars" / f"{made.cid}.car"
    with pytest.raises(BackendUnavailableError):
        make_driver(tmp_path / "nowhere").fetch_leaf(str(made.cid), "training/config")
    with pytest.raises(AnchorNotFoundError, match="has no tree"):
        driver.fetch_leaf(str(Cid(DAG_CBOR, bytes(32))), "training/config")
    whole = path.read_bytes()
    damaged = (
        b"",
        whole[:-1],
        whole[:100],
        whole + b"\x05",
        b"\xff" * 50,
        whole[1:],
        whole.replace(b"array", b"arras"),
    )
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(VerificationError):
            driver.fetch_leaf(str(made.cid), "model/weights")
    without = {cid: block for cid, block in published(tree)[1].items() if b"array" not in block}
    path.write_bytes(car_bytes(without, [made.cid]))
    with pytest.raises(AnchorNotFoundError, match="has no block"):
        driver.fetch_leaf(str(made.cid), "model/weights")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendUnavailableError):
        driver.fetch_leaf(str(made.cid), "model/weights")


def test_public_archives_are_read_and_nothing_is_written(
    vectors: Callable[[str], Path], driver: IpfsDriver, store_dir: Path, tree: MLProvenanceMerkleTree
) -> None:
    driver.publish_tree(tree, PHASE)
    paths = sorted(vectors("ipfs-car").glob("*.car"))
    read = 0
    for path in paths:
        try:
            archive = CarArchive(path.read_bytes())
        except FormatError:  # roots as CIDv0, which no archive of this project has
            continue
        read += 1
        for cid, block in archive.blocks().items():
            assert Cid.of(block, cid.codec) == cid
        for root in archive.roots:
            (store_dir / "cars" / f"{root}.car").write_bytes(path.read_bytes())
            before = sorted(store_dir.parent.rglob("*"))
            with pytest.raises((VerificationError, AnchorNotFoundError)):
                driver.fetch_leaf(str(root), "data/training")
            assert sorted(store_dir.parent.rglob("*")) == before
    assert read > 3


@given(st.binary(max_size=200) | st.builds(lambda data: b"\x11" + data, st.binary(max_size=80)))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    try:
        archive = CarArchive(data)
    except FormatError:
        return
    assert isinstance(archive.roots, tuple)


def test_a_gateway_alone_publishes_nothing(make_driver: MakeDriver, tree: MLProvenanceMerkleTree) -> None:
    with pytest.raises(ConfigurationError, match="gateway"):
        make_driver(gateway_url="http://127.0.0.1:9").publish_tree(tree, PHASE)


# --- a real daemon ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon_tree() -> MLProvenanceMerkleTree:
    return run_with([file(f"images/{number}.png") for number in range(1100)])


@pytest.fixture
def on_daemon(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, daemon_tree: MLProvenanceMerkleTree
) -> tuple[IpfsDriver, PublishedTree]:
    driver = make_driver(url=ipfs_daemon.api_url, timeout=120)
    return driver, driver.publish_tree(daemon_tree, PHASE, values=True)


@pytest.mark.node
def test_a_daemon_resolves_the_same_paths(
    on_daemon: tuple[IpfsDriver, PublishedTree],
    ipfs_daemon: IpfsNode,
    daemon_tree: MLProvenanceMerkleTree,
    pins_on: Callable[[IpfsNode], set[bytes]],
) -> None:
    driver, made = on_daemon
    assert made.cid.digest in pins_on(ipfs_daemon)
    ipfs_daemon.call("repo/gc")
    assert json.loads(ipfs_daemon.call("dag/get", f"{made.cid}/training/epochs/20/metrics")) == {
        "digest": str(daemon_tree.node("training/epochs/20/metrics").digest),
        "json": '{"loss":0.3333333333333333}',
        "kind": "json",
        "label": "metrics",
    }
    assert ipfs_daemon.call("dag/get", f"{made.cid}/~/root").decode() == str(daemon_tree.root(PHASE))
    resolved = json.loads(ipfs_daemon.call("dag/resolve", f"{made.cid}/data/training/1/images~11050.png"))
    fetched = driver.fetch_leaf(str(made.cid), "data/training/images~11050.png", daemon_tree.root(PHASE))
    assert Cid.parse(resolved["Cid"]["/"]) == fetched.cid
    assert fetched.proof == daemon_tree.prove("data/training/images~11050.png", PHASE)
    assert driver.publish_tree(daemon_tree, PHASE, values=True) == made


@pytest.mark.node
def test_a_leaf_is_fetched_and_checked_without_this_project(
    on_daemon: tuple[IpfsDriver, PublishedTree], ipfs_daemon: IpfsNode
) -> None:
    """The page's recipe by hand, with libraries that share nothing with the product."""
    _, made = on_daemon
    block = ipfs_daemon.call("block/get", str(made.cid))
    for segment in ("training", "config"):
        link = dag_cbor.decode(block)[segment]  # type: ignore[index,call-overload]
        block = ipfs_daemon.call("block/get", link.encode("base32"))
        assert link.digest == b"\x12\x20" + sha256(block).digest()
    leaf = dag_cbor.decode(block)
    assert json.loads(leaf["json"]) == CONFIG  # type: ignore[index,call-overload,arg-type]


@pytest.mark.node
def test_a_daemon_that_delivers_other_blocks_of_a_tree_is_wrong(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, tree: MLProvenanceMerkleTree
) -> None:
    forward = forward_to(ipfs_daemon.api_url)

    def lying(request: Request) -> Reply:
        reply = forward(request)
        if request.call not in ("POST /api/v0/dag/export", "POST /api/v0/block/get"):
            return reply
        return replace(reply, body=reply.body.replace(b"array", b"arras"))

    with FaultServer(lying) as server:
        driver = make_driver(url=server.url, timeout=60)
        with pytest.raises(VerificationError, match="other blocks"):
            driver.publish_tree(tree, PHASE)
        with pytest.raises(VerificationError, match=r"127\.0\.0\.1"):
            driver.fetch_leaf(str(published(tree)[0].cid), "model/weights")


@pytest.mark.node
@pytest.mark.parametrize("command", ["dag/import", "dag/export"])
@pytest.mark.parametrize(
    "mode", ["reset", "fin-mid-body", "status-500", "html", "json-null", "json-object", "cut-json"]
)
def test_a_daemon_that_fails_while_a_tree_is_published_publishes_nothing(
    make_driver: MakeDriver, proxy: FaultServer, tree: MLProvenanceMerkleTree, command: str, mode: str
) -> None:
    proxy.plan = lambda request: mode if command in request.target else None
    driver = make_driver(url=proxy.url, timeout=30)
    with pytest.raises(MrvError) as caught:
        driver.publish_tree(tree, PHASE)
    assert isinstance(caught.value, VerificationError) is (command == "dag/export" and mode in WHOLE_ANSWERS)
    assert proxy.fired[mode] == 1


@pytest.mark.node
def test_a_tree_whose_pin_fails_is_not_published(
    make_driver: MakeDriver, ipfs_daemon: IpfsNode, tree: MLProvenanceMerkleTree
) -> None:
    forward = forward_to(ipfs_daemon.api_url)

    def unpinned(request: Request) -> Reply:
        reply = forward(request)
        if request.call != "POST /api/v0/dag/import":
            return reply
        return Reply.json({"Root": {**json.loads(reply.body)["Root"], "PinErrorMsg": "EMFILE: too many open files"}})

    with FaultServer(unpinned) as server, pytest.raises(MrvError, match="too many open files"):
        make_driver(url=server.url, timeout=60).publish_tree(tree, PHASE)


def test_random_trees_are_published_and_fetched(driver: IpfsDriver) -> None:
    source = random.Random(7)  # noqa: S311

    def grow(label: str, depth: int) -> MerkleNode:
        if depth == 0 or source.random() < 0.3:
            return file(label)
        return MerkleNode.branch(label, [grow(f"{source.random()}", depth - 1) for _ in range(source.randrange(9))])

    for number in range(5):
        tree = MLProvenanceMerkleTree(f"run-{number}")
        tree.set("data/training", grow("x", 5))
        made = driver.publish_tree(tree, "before_training")
        for path, _ in source.sample(list(tree.walk("before_training")), 9):
            fetched: PublishedNode = driver.fetch_leaf(str(made.cid), path, tree.root("before_training"))
            verify_node_proof(fetched.proof, tree.root("before_training"))
            assert fetched.proof == tree.prove(path, "before_training")
