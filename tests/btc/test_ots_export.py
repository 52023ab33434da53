# SPDX-License-Identifier: MIT
"""Proofs of our anchors, checked by the unmodified OpenTimestamps client against a node; and read back as receipts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from btc.support import MakeDriver, MakeNode, anchor, commitment_of, settings_for
from btc.test_btc_offline import flipped
from btc.test_ots_codec import encode
from opentimestamps.core.notary import BitcoinBlockHeaderAttestation
from opentimestamps.core.op import OpAppend, OpPrepend, OpSHA1, OpSHA256
from opentimestamps.core.timestamp import Timestamp

from mrv_backends_btc.driver import BitcoinDriver
from mrv_backends_btc.offline import examine
from mrv_backends_btc.ots_codec import SHA256, Operation, write_ots
from mrv_backends_btc.ots_export import ots_file
from mrv_core.batching import Batch
from mrv_core.driver import DriverContext, TrustedFacts
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    FormatError,
    RootMismatchError,
    VerificationError,
)
from mrv_core.hashing import Digest, HashFactory
from mrv_core.models import NO_METADATA, Receipt, ReceiptState
from mrv_core.provenance_tree import MerkleNode, MLProvenanceMerkleTree
from mrv_core.testing.conformance import altered, forgeries
from mrv_devnet.nodes import BitcoinNode

CONTENT = b"x,y\n1,2\n" * 1000
NOTHING = TrustedFacts()


@dataclass(frozen=True)
class Run:
    """A run with its root anchored, and another one that is a member of an anchored batch."""

    tree: MLProvenanceMerkleTree
    root: Digest
    receipt: Receipt
    batch: Batch
    batch_receipt: Receipt


@pytest.fixture(scope="module")
def run(regtest: BitcoinNode, tmp_path_factory: pytest.TempPathFactory) -> Run:
    tree = MLProvenanceMerkleTree("run-1")
    leaf = MerkleNode.leaf("t", "file", HashFactory.digest(CONTENT, "sha256"))
    tree.set("data/training", MerkleNode.branch("f", [leaf, MerkleNode.leaf("u", "array", leaf.digest or leaf.digest)]))
    for epoch in range(100):
        tree.append_epoch(epoch, metrics=MerkleNode.json("m", {"loss": epoch + 0.5}, "blake3"))
    root = tree.root("after_training")
    batch = Batch([*(HashFactory.digest(b"%d" % number, "sha256") for number in range(10)), root])
    driver = BitcoinDriver(DriverContext("bitcoin", settings_for(regtest), tmp_path_factory.mktemp("run")))
    for _ in range(3):
        regtest.wallet_rpc("miner", "send", [{"data": "00"}], None, "unset", 5)
    receipts = [driver.submit(driver.prepare(each, NO_METADATA)) for each in (root, batch.commitment)]
    regtest.mine(1)
    receipt, batch_receipt = (driver.upgrade(each) for each in receipts)
    driver.close()
    return Run(tree, root, receipt, batch, batch_receipt)


class Client:
    """The `ots` command of opentimestamps-client, in a home of its own."""

    def __init__(self, node: BitcoinNode, home: Path) -> None:
        self._node = node
        self._home = home

    def verify(self, file: Path, *, node: bool = True) -> subprocess.CompletedProcess[str]:
        url = self._node.url.replace("//", f"//{self._node.user}:{self._node.password}@")
        where = ["--btc-regtest", "--bitcoin-node", url] if node else ["--no-bitcoin"]
        program = str(Path(sys.executable).with_name("ots"))
        command = [program, "--no-cache", *where, "verify", f"{file}.ots"]
        environment = {"HOME": str(self._home), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)

    def accepts(self, file: Path) -> bool:
        done = self.verify(file)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode == 0 and "Success! Bitcoin block" in done.stderr


@pytest.fixture
def client(regtest: BitcoinNode, tmp_path: Path) -> Client:
    return Client(regtest, tmp_path)


class TestTheStandardClient:
    @pytest.mark.parametrize(
        ("path", "part"),
        [
            ("data/training/t", "content"),
            ("data/training/t", "node"),
            ("training/epochs/57/metrics", "node"),
            ("training/epochs", "node"),
            ("model/weights", "node"),
            ("data", "root"),
        ],
    )
    @pytest.mark.parametrize("batched", [False, True])
    def test_accepts_every_part_of_a_run(
        self, run: Run, driver: BitcoinDriver, client: Client, tmp_path: Path, path: str, part: Any, batched: bool
    ) -> None:
        proof = run.tree.prove(path, "after_training")
        place: dict[str, Any] = {}
        if batched:
            member = run.batch.prove(run.root)
            place = {"commitment": run.root, "batch": (member.index, member.size, member.path)}
        receipt = run.batch_receipt if batched else run.receipt
        made = driver.export_ots(receipt, proof=proof, part=part, **place)
        file = tmp_path / "artifact"
        file.write_bytes(CONTENT if made.file is None else made.file)
        Path(f"{file}.ots").write_bytes(made.ots)
        assert client.accepts(file)
        file.write_bytes(file.read_bytes() + b" ")
        assert not client.accepts(file), "a changed file must be refused"

    def test_accepts_a_file_whose_digest_was_anchored(
        self, driver: BitcoinDriver, regtest: BitcoinNode, client: Client, tmp_path: Path
    ) -> None:
        file = tmp_path / "record.json"
        file.write_bytes(b'{"co2_g":1}')
        receipt = anchor(driver, regtest, HashFactory.digest(file.read_bytes(), "sha256"))
        Path(f"{file}.ots").write_bytes(driver.export_ots(receipt).ots)
        assert client.accepts(file)

    def test_refuses_after_a_reorganisation(
        self, new_bitcoind: MakeNode, make_driver: MakeDriver, tmp_path: Path
    ) -> None:
        node = new_bitcoind()
        file = tmp_path / "file"
        file.write_bytes(b"reorganised")
        receipt = anchor(make_driver(node), node, HashFactory.digest(file.read_bytes(), "sha256"))
        Path(f"{file}.ots").write_bytes(make_driver(node).export_ots(receipt).ots)
        client = Client(node, tmp_path)
        assert client.accepts(file)
        node.rpc("invalidateblock", receipt.evidence["block_hash"])
        assert not client.accepts(file)

    def test_without_a_node_names_the_root_to_compare(
        self, run: Run, driver: BitcoinDriver, regtest: BitcoinNode, client: Client, tmp_path: Path
    ) -> None:
        made = driver.export_ots(run.receipt, proof=run.tree.prove("data", "after_training"))
        assert made.file is not None
        (tmp_path / "root").write_bytes(made.file)
        (tmp_path / "root.ots").write_bytes(made.ots)
        done = client.verify(tmp_path / "root", node=False)
        merkle_root = regtest.rpc("getblock", run.receipt.evidence["block_hash"])["merkleroot"]
        assert merkle_root in done.stderr
        assert sha256(made.file).hexdigest() == run.root.hex, "sha256sum of the file is the root"


class TestRefusedExports:
    def test_before_it_is_in_a_block(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        pending = driver.submit(driver.prepare(commitment_of("pending export"), NO_METADATA))
        with pytest.raises(FormatError, match="no evidence of a block yet") as failure:
            driver.export_ots(pending)
        assert "mrv flush" in str(failure.value.hint)
        regtest.mine(1)

    def test_a_commitment_that_is_not_sha256(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        receipt = anchor(driver, regtest, HashFactory.digest(b"x", "blake3"))
        with pytest.raises(FormatError, match="starts at a SHA-256 digest"):
            driver.export_ots(receipt)

    def test_what_does_not_lead_to_the_anchor(self, run: Run, driver: BitcoinDriver) -> None:
        member = run.batch.prove(run.root)
        other = run.batch.members[0]
        calls: list[Callable[[], object]] = [
            lambda: driver.export_ots(run.receipt, commitment=other),
            lambda: driver.export_ots(run.batch_receipt, commitment=run.root),
            lambda: driver.export_ots(run.receipt, proof=run.tree.prove("data", "before_training")),
            lambda: driver.export_ots(
                run.batch_receipt, commitment=other, batch=(member.index, member.size, member.path)
            ),
            lambda: ots_file(bytes(32), [], run.receipt),
            lambda: ots_file(run.root.value, [Operation("append", b"x"), SHA256], run.receipt),
        ]
        for call in calls:
            with pytest.raises(RootMismatchError):
                call()

    def test_a_forged_receipt(self, run: Run, driver: BitcoinDriver) -> None:
        for place in ("transaction", "header", ("merkle_branch", 0)):
            for evidence in flipped(run.receipt.evidence, place)[:: 97 if place == "transaction" else 31]:
                with pytest.raises(VerificationError):
                    driver.export_ots(altered(run.receipt, evidence=evidence))

    def test_what_the_format_cannot_hold(self, regtest: BitcoinNode, driver: BitcoinDriver) -> None:
        """A path of labels longer than an argument may be, or of more steps than clients read."""
        tree = MLProvenanceMerkleTree("deep")
        node = MerkleNode.leaf("leaf", "file", HashFactory.digest(b"x", "sha256"))
        for _ in range(70):
            node = MerkleNode.branch("folder", [node])
        tree.set("data/training", node)
        long = MerkleNode.branch("l" * 4090, [MerkleNode.leaf("leaf", "file", HashFactory.digest(b"x", "sha256"))])
        tree.set("data/test", MerkleNode.branch("t", [long]))
        root = tree.root("before_training")
        receipt = anchor(driver, regtest, root)
        deep = "data/training/" + "folder/" * 69 + "leaf"
        with pytest.raises(FormatError, match="OpenTimestamps reads 255") as failure:
            driver.export_ots(receipt, proof=tree.prove(deep, "before_training"), part="content")
        assert "nearer to the root" in str(failure.value.hint)
        with pytest.raises(FormatError, match="longer than the 4096 bytes"):
            driver.export_ots(
                receipt, proof=tree.prove(f"data/test/{'l' * 4090}/leaf", "before_training"), part="content"
            )
        assert driver.export_ots(receipt, proof=tree.prove("data/training", "before_training"), part="node").ots


class TestImports:
    """A calendar's proof, or anyone's, becomes a receipt that is checked like every other."""

    @pytest.fixture
    def imported(self, run: Run, driver: BitcoinDriver) -> Receipt:
        made = driver.export_ots(run.receipt)
        return driver.import_ots(made.ots, run.root)

    def test_first_pending_then_as_deep_as_its_block(self, run: Run, driver: BitcoinDriver, imported: Receipt) -> None:
        assert (imported.state, imported.commitment, imported.block_time) == (ReceiptState.PENDING, run.root, None)
        assert imported.reference.startswith("ots:")
        upgraded = driver.upgrade(imported)
        assert upgraded.state is ReceiptState.FINAL
        assert upgraded.block_time == run.receipt.block_time
        assert driver.upgrade(upgraded) == upgraded
        for receipt in (imported, upgraded):
            read = Receipt.from_bytes(receipt.to_bytes(), what="receipt")
            verified = driver.verify(read, run.root)
            assert (verified.state, verified.reference) == (ReceiptState.FINAL, imported.reference)
            assert verified.block_time == run.receipt.block_time
            assert verified.facts["block_hash"] == run.receipt.evidence["block_hash"]

    def test_examined_with_nobody_asked(self, run: Run, driver: BitcoinDriver, imported: Receipt) -> None:
        """Without a header, height and Merkle root remain to be compared; with one, the block itself."""
        before = examine(imported, run.root, NOTHING)
        assert before.state is ReceiptState.PENDING
        height = run.receipt.evidence["height"]
        assert f"Block {height} of the Bitcoin chain regtest" in before.remaining[0]
        after = examine(driver.upgrade(imported), run.root, NOTHING)
        block = run.receipt.evidence["block_hash"]
        assert (after.state, after.block_hash) == (ReceiptState.FINAL, block)
        assert block in after.remaining[0]
        known = TrustedFacts(block_hashes=frozenset({block}))
        assert examine(driver.upgrade(imported), run.root, known).remaining == ()

    def test_every_changed_claim_is_refused(self, run: Run, driver: BitcoinDriver, imported: Receipt) -> None:
        upgraded = driver.upgrade(imported)
        accepted = []
        for what, forged in forgeries(upgraded):
            try:
                driver.verify(forged, run.root)
            except (VerificationError, AnchorNotFoundError, BackendError, FormatError):
                continue
            accepted.append(what)
        assert accepted == []

    def test_of_another_file(self, run: Run, driver: BitcoinDriver) -> None:
        with pytest.raises(RootMismatchError, match="about another file"):
            driver.import_ots(driver.export_ots(run.receipt).ots, commitment_of("another"))

    def test_of_a_block_that_has_another_root(self, run: Run, driver: BitcoinDriver) -> None:
        """Whoever writes a proof can name any height."""
        forged = driver.import_ots(write_ots(run.root.value, [SHA256], 50), run.root)
        for call in (lambda: driver.verify(forged, run.root), lambda: driver.upgrade(forged)):
            with pytest.raises(RootMismatchError, match="block 50 has another Merkle root"):
                call()

    def test_of_a_block_that_is_not_there_yet(self, run: Run, driver: BitcoinDriver) -> None:
        early = driver.import_ots(write_ots(run.root.value, [SHA256], 900_000), run.root)
        with pytest.raises(AnchorNotFoundError, match="no block 900000 yet"):
            driver.verify(early, run.root)

    def test_after_a_reorganisation(self, new_bitcoind: MakeNode, make_driver: MakeDriver) -> None:
        node = new_bitcoind()
        driver, commitment = make_driver(node), commitment_of("reorganised")
        receipt = anchor(driver, node, commitment)
        upgraded = driver.upgrade(driver.import_ots(driver.export_ots(receipt).ots, commitment))
        node.rpc("invalidateblock", receipt.evidence["block_hash"])
        with pytest.raises(AnchorNotFoundError):
            driver.verify(upgraded, commitment)
        node.mine(2)
        with pytest.raises(AnchorNotFoundError, match="is not in the chain"):
            driver.verify(upgraded, commitment)

    def test_exported_again_as_it_came(self, run: Run, driver: BitcoinDriver, imported: Receipt) -> None:
        original = driver.export_ots(run.receipt).ots
        proof = run.tree.prove("data/training/t", "after_training")
        for receipt in (imported, driver.upgrade(imported)):
            assert driver.export_ots(receipt).ots == original
            root = driver.export_ots(receipt, proof=proof, part="root")
            assert root.ots == original
            assert root.file is not None
            assert sha256(root.file).digest() == run.root.value
            with pytest.raises(FormatError, match="nothing of parts of the run"):
                driver.export_ots(receipt, proof=proof, part="content")

    def test_cannot_be_looked_up(self, driver: BitcoinDriver, imported: Receipt) -> None:
        with pytest.raises(AnchorNotFoundError) as failure:
            driver.lookup(imported.reference)
        assert "import the .ots file again" in str(failure.value.hint)


class TestPublicProofs:
    def test_pending_ones_wait_for_their_calendars(self, driver: BitcoinDriver, vectors: Callable[[str], Path]) -> None:
        data = vectors("ots/incomplete.txt.ots").read_bytes()
        digest = HashFactory.digest(vectors("ots/incomplete.txt").read_bytes(), "sha256")
        receipt = driver.import_ots(data, digest)
        assert driver.upgrade(receipt) == receipt
        verified = driver.verify(receipt, digest)
        assert verified.state is ReceiptState.PENDING
        assert "alice.btc.calendar.opentimestamps.org" in verified.trusts[0]
        examined = examine(receipt, digest, NOTHING)
        assert examined.state is ReceiptState.PENDING
        assert "calendar" in examined.remaining[0]

    @pytest.mark.parametrize("name", ["hello-world.txt", "bad-stamp.txt"])
    def test_with_their_real_block(self, driver: BitcoinDriver, vectors: Callable[[str], Path], name: str) -> None:
        """The block is the right one for one of the two; its weak hash keeps even that from being settled (A05)."""
        data = vectors(f"ots/{name}.ots").read_bytes()
        header = vectors("ots/headers/358391.hex").read_text().strip()
        receipt = driver.import_ots(data)
        block_hash = "000000000000000003e892881a8cdcdc117c06d444057c98b6f04a9ee75a2319"
        evidence = {**receipt.evidence, "header": header, "height": 358391, "block_hash": block_hash}
        with_block = altered(
            receipt,
            network_id="bip122:000000000019d6689c085ae165831e93",
            evidence=evidence,
            block_time=datetime.fromtimestamp(1432827678, UTC),
        )
        known = TrustedFacts(block_hashes=frozenset({block_hash}), min_work=60)
        if name == "bad-stamp.txt":
            with pytest.raises(VerificationError, match="does not lead to the block header"):
                examine(with_block, receipt.commitment, known)
            return
        examined = examine(with_block, receipt.commitment, known)
        assert examined.block_hash == block_hash
        [remaining] = examined.remaining
        assert "ripemd160" in remaining

    def test_a_weak_hash_keeps_a_proof_from_being_valid(self, driver: BitcoinDriver, regtest: BitcoinNode) -> None:
        """Everything is right, block included; but whoever made the file may have made another one with this proof."""
        digest = sha256(b"a file").digest()
        start = Timestamp(digest)
        stamp = start.ops.add(OpSHA1()).ops.add(OpSHA256())
        receipt = anchor(driver, regtest, Digest("sha256", stamp.msg))
        evidence = receipt.evidence
        raw = bytes.fromhex(evidence["transaction"])
        at = raw.index(stamp.msg)
        stamp = (
            stamp.ops.add(OpPrepend(raw[:at])).ops.add(OpAppend(raw[at + 32 :])).ops.add(OpSHA256()).ops.add(OpSHA256())
        )
        for number, sibling in enumerate(evidence["merkle_branch"]):
            joined = OpPrepend if evidence["transaction_index"] >> number & 1 else OpAppend
            stamp = stamp.ops.add(joined(bytes.fromhex(sibling))).ops.add(OpSHA256()).ops.add(OpSHA256())
        stamp.attestations.add(BitcoinBlockHeaderAttestation(evidence["height"]))
        imported = driver.import_ots(encode(start), Digest("sha256", digest))
        for call in (lambda: driver.verify(imported, imported.commitment), lambda: driver.upgrade(imported)):
            with pytest.raises(BackendError, match="rests on sha1"):
                call()
        block = {key: evidence[key] for key in ("header", "height", "block_hash")}
        claimed = altered(
            imported,
            state=ReceiptState.FINAL,
            block_time=receipt.block_time,
            evidence={**imported.evidence, **block},
        )
        trusted = TrustedFacts(block_hashes=frozenset({evidence["block_hash"]}))
        assert "sha1" in examine(claimed, imported.commitment, trusted).remaining[-1]
