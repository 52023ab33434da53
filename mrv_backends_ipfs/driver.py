# SPDX-License-Identifier: MIT
"""The IPFS driver: one raw block for each anchor, in an offline block store or on a daemon."""

from __future__ import annotations

from typing import ClassVar, Final

from mrv_backends_ipfs.cid import RAW, Cid
from mrv_backends_ipfs.dag import PublishedTree, blocks_of_tree
from mrv_backends_ipfs.evidence import (
    NETWORK_ID,
    IpfsEvidence,
    check_evidence,
    encode_statement,
    parse_statement,
)
from mrv_backends_ipfs.keepers import Found, keeper_of
from mrv_backends_ipfs.offline import DRIVER, check_claims
from mrv_backends_ipfs.published import PublishedNode, read_node
from mrv_core.driver import Capabilities, DriverContext
from mrv_core.errors import AnchorNotFoundError, FormatError, SubmissionRejectedError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import DriverStatus, Json, Metadata, Prepared, Receipt, ReceiptState, VerifiedAnchor
from mrv_core.provenance_tree import MLProvenanceMerkleTree, TreeState

_NOT_PINNED: Final = "The daemon does not say that it pins the block, so its next 'repo gc' may remove it."


class IpfsDriver:
    """Anchors blocks, and publishes the tree of a run as linked blocks."""

    name: ClassVar[str] = DRIVER

    def __init__(self, context: DriverContext) -> None:
        self._network = context.network
        self._keeper = keeper_of(context)
        self.capabilities = Capabilities(attests_time=False, embedded=self._keeper.embedded, searches=True)

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Build the statement block; the reference is its CID.

        Raises:
            FormatError: metadata that JSON cannot carry exactly, or more than one block holds.
            ConfigurationError: the network is read through a gateway only.
        """
        self._keeper.require_writable()
        block = encode_statement(commitment, metadata)
        return Prepared(
            network=self._network, commitment=commitment, reference=str(Cid.of(block)), payload_hex=block.hex()
        )

    def submit(self, prepared: Prepared) -> Receipt:
        """Store the block, pin it, read it back, and return the receipt.

        Raises:
            SubmissionRejectedError: the prepared bytes are not the block that their reference names, or the daemon
                does not store it under this CID.
            StorageError: no permission or no space in the offline store.
            BackendError: the daemon could not store, pin or deliver it; it may be there all the same.
            VerificationError: the daemon delivers other bytes.
        """
        cid, block = _check_prepared(prepared)
        return self._receipt(cid, self._keeper.put(cid, block))

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor from a CID in any spelling.

        Raises:
            FormatError: not a CID with a full sha2-256 multihash.
            AnchorNotFoundError: there is no such block, or it is no statement.
            BackendError: nobody could be asked.
            VerificationError: the delivered bytes have another CID.
        """
        cid = Cid.parse(reference)
        if cid.codec != RAW:
            raise AnchorNotFoundError(f"{cid} is not an anchor: anchors are raw blocks")
        return self._receipt(cid, self._keeper.get(cid))

    def find(self, commitment: Digest, metadata: Metadata) -> Receipt | None:
        """Look for our own block of a commitment with this metadata, whose CID follows from them.

        It is found where `submit` stores it, in the offline store or pinned on the daemon. Nobody is asked to look for
        it elsewhere, which takes seconds, since storing it twice stores it once.

        Raises:
            FormatError: metadata that no block could have held.
            BackendError: nobody could be asked.
            VerificationError: the delivered bytes have another CID.
        """
        cid = Cid.of(encode_statement(commitment, metadata))
        try:
            return self.lookup(str(cid)) if self._keeper.has_ours(cid) else None
        except AnchorNotFoundError:
            return None

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again; a stored block has no better evidence to wait for.

        Raises:
            VerificationError: the block states another commitment than the receipt.
            MrvError: whatever `lookup` raises.
        """
        fresh = self.lookup(receipt.reference)
        if fresh.commitment != receipt.commitment:
            raise VerificationError(
                f"block {fresh.reference} states {fresh.commitment}, but its receipt claims {receipt.commitment}"
            )
        return fresh.model_copy(update={"submitted_at": receipt.submitted_at})

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check a receipt, and that its block is kept.

        1. The receipt makes no claim that this network cannot keep, and is about this commitment.
        2. Its evidence is a block with the receipt's CID that states the commitment (needs nobody).
        3. The store, the daemon or the gateway has that block, with those bytes.

        Raises:
            VerificationError: any of the claims, the evidence or the delivered bytes is wrong.
            AnchorNotFoundError: nobody who was asked has the block.
            BackendError: somebody could not be asked, and nobody else has it.
        """
        check_claims(receipt, commitment, network=self._network, embedded=self._keeper.embedded)
        cid, block, statement = check_evidence(receipt.evidence, receipt.reference, commitment)
        found = self._keeper.get(cid)  # recomputes the CID, so equal CIDs are equal bytes
        facts: dict[str, Json] = {"block_bytes": len(block), "metadata": statement.metadata}
        pinned = self._keeper.keeps(cid, found)
        if not self._keeper.embedded:
            facts |= {"delivered_by": found.source, "pinned": pinned}
        return VerifiedAnchor(
            network=self._network,
            network_id=NETWORK_ID,
            reference=receipt.reference,
            commitment=commitment,
            state=ReceiptState.FINAL,
            facts=facts,
            trusts=self._keeper.trusts if pinned is not False else (*self._keeper.trusts, _NOT_PINNED),
        )

    def publish_tree(
        self, tree: MLProvenanceMerkleTree, state: TreeState | str, *, values: bool = False
    ) -> PublishedTree:
        """Publish the tree of a run as linked blocks, so that any node can be fetched and checked by itself.

        Labels, kinds and digests become public for ever: file names, names of tensors. Contents do not.

        Args:
            tree: The run's tree.
            state: Which of its roots, or the name of a phase for its present state.
            values: Whether the JSON values of the tree become public too: configuration, environment, metrics.

        Raises:
            FormatError: the tree never was in that state, or a value or a branch does not fit into a block.
            ConfigurationError: the network is read through a gateway only.
            StorageError: no permission or no space in the offline store.
            BackendError: the daemon could not store, pin or deliver the blocks; some may be there all the same.
            VerificationError: the daemon delivers other blocks.
        """
        self._keeper.require_writable()
        published, blocks = blocks_of_tree(tree, state, values=values)
        self._keeper.put_tree(published.cid, blocks)
        return published

    def fetch_leaf(self, root_cid: str, path: str, root: Digest | None = None) -> PublishedNode:
        """Fetch one node of a published tree, leaf or branch, and check its way to the root.

        Args:
            root_cid: CID of the published tree.
            path: Path name of the node, for instance `training/epochs/7/metrics`.
            root: The run's root, out of an anchor. Where it is left out, compare `PublishedNode.root` yourself.

        Raises:
            FormatError: not a CID, or the tree has no such node.
            AnchorNotFoundError: a block on the way is not there.
            BackendError: somebody could not be asked, and nobody else has it.
            VerificationError: a block has another CID or is malformed, or the way leads to another root.
        """
        cid = Cid.parse(root_cid)
        return read_node(self._keeper.open_tree(cid), cid, path, root)

    def status(self) -> DriverStatus:
        """Say whether blocks can be stored, without creating anything."""
        ready, detail = self._keeper.status()
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=NETWORK_ID,
            embedded=self._keeper.embedded,
            ready=ready,
            detail=detail,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._keeper.close()

    def _receipt(self, cid: Cid, found: Found) -> Receipt:
        try:
            statement = parse_statement(found.block)
        except FormatError as error:
            raise AnchorNotFoundError(f"block {cid} is not an anchor: {error.message}") from error
        return Receipt(
            network=self._network,
            driver=self.name,
            network_id=NETWORK_ID,
            embedded=self._keeper.embedded,
            commitment=statement.commitment,
            state=ReceiptState.FINAL,
            reference=str(cid),
            submitted_at=found.stored_at,
            evidence=IpfsEvidence(format="mrv-ipfs-evidence/1", block=found.block.decode("utf-8")).to_json(),
        )


def _check_prepared(prepared: Prepared) -> tuple[Cid, bytes]:
    try:
        block = bytes.fromhex(prepared.payload_hex)
        statement = parse_statement(block)
    except ValueError as error:  # FormatError is one too
        raise SubmissionRejectedError(f"the prepared bytes are not a statement block: {error}") from error
    cid = Cid.of(block, RAW)
    if str(cid) != prepared.reference or statement.commitment != prepared.commitment:
        raise SubmissionRejectedError(
            f"the prepared block is {cid} for {statement.commitment}, "
            f"not {prepared.reference[:80]} for {prepared.commitment}"
        )
    return cid, block
