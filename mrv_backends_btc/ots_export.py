# SPDX-License-Identifier: MIT
"""Writes OpenTimestamps proofs of our own anchors; any client of OpenTimestamps checks them with a Bitcoin node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from mrv_backends_btc.chains import CHAINS_BY_ID
from mrv_backends_btc.evidence import FORMAT as ANCHOR_FORMAT
from mrv_backends_btc.evidence import CheckedAnchor, check_evidence
from mrv_backends_btc.ots_codec import SHA256, Operation, write_ots
from mrv_backends_btc.ots_evidence import FORMAT as OTS_FORMAT
from mrv_backends_btc.ots_evidence import check_ots_evidence
from mrv_backends_btc.ots_path import Part, Way, apply_all, batch_operations, way_from
from mrv_backends_btc.payload import COMMITMENT_OFFSET
from mrv_core.errors import FormatError, RootMismatchError
from mrv_core.hashing import DIGEST_SIZE, Digest
from mrv_core.models import Receipt
from mrv_core.provenance_tree import NodeProof


class OtsExport(NamedTuple):
    """A proof and what it is about.

    Attributes:
        ots: Content of the `.ots` file.
        file: Content of the file that it is about, to be written beside it; None where that is the user's own file.
    """

    ots: bytes
    file: bytes | None


BatchPlace: TypeAlias = tuple[int, int, Sequence[bytes]]
"""Zero-based leaf index, number of entries, and RFC 9162 audit path with the leaf's sibling first."""


def export_ots(
    receipt: Receipt,
    *,
    commitment: Digest | None = None,
    proof: NodeProof | None = None,
    part: Part = "root",
    batch: BatchPlace | None = None,
) -> OtsExport:
    """Return an OpenTimestamps proof of an anchor in Bitcoin.

    Args:
        receipt: Receipt of the anchor, with evidence.
        commitment: What stands under the anchor: the root of a run, or of a member of the batch; by default the
            receipt's own commitment.
        proof: Inclusion proof of a node under `commitment`. Without one, the proof is about the file whose SHA-256
            digest is `commitment`, for instance a record.
        part: What the proof is about; see `mrv_backends_btc.ots_path.way_from`.
        batch: Place of `commitment` in the batch whose commitment the receipt has; None where there is no batch.

    Raises:
        FormatError: no evidence yet, or something that the format cannot express; the hint says what to do.
        VerificationError: the evidence, the proof or the place in the batch is wrong.
    """
    target = receipt.commitment if commitment is None else commitment
    way = _way(target, proof, part)
    operations = list(way.operations)
    if batch is not None:
        operations += batch_operations(target.value, *batch)
    if apply_all(way.digest, operations) != receipt.commitment.value:
        raise RootMismatchError(
            "the way from the file does not lead to the anchored commitment",
            expected=receipt.commitment.hex,
            computed=apply_all(way.digest, operations).hex(),
        )
    if receipt.evidence.get("format") == OTS_FORMAT:
        return OtsExport(_imported(receipt, operations), way.file)
    return OtsExport(ots_file(way.digest, operations, receipt), way.file)


def ots_file(file_digest: bytes, operations: Sequence[Operation], receipt: Receipt) -> bytes:
    """Return the `.ots` bytes for a file: from its digest to the commitment, and on to the block.

    Args:
        file_digest: SHA-256 digest of the file.
        operations: From there to the 32 bytes of the receipt's commitment.
        receipt: Receipt of the anchor, with evidence, which is checked.

    Raises:
        FormatError: no evidence yet, or more or longer steps than OpenTimestamps reads.
        VerificationError: the evidence is wrong, or the operations do not lead to the block.
    """
    checked = _checked(receipt)
    operations = [*operations, *_to_block(checked)]
    reached = apply_all(file_digest, operations)
    if reached != checked.header.merkle_root:
        raise RootMismatchError(
            "the operations do not lead to the Merkle root of the block",
            expected=checked.header.merkle_root.hex(),
            computed=reached.hex(),
        )
    return write_ots(file_digest, operations, checked.height)


def _imported(receipt: Receipt, operations: Sequence[Operation]) -> bytes:
    """Return the proof in a receipt that was made of one; it begins at the commitment and at nothing before it."""
    check_ots_evidence(receipt.evidence, receipt.reference, receipt.commitment, CHAINS_BY_ID.get(receipt.network_id))
    if operations:
        raise FormatError(
            "the receipt was made of a proof of the root, which says nothing of parts of the run",
            hint="export the root, or anchor with a wallet of your own",
        )
    return bytes.fromhex(receipt.evidence["ots"])


def _way(commitment: Digest, proof: NodeProof | None, part: Part) -> Way:
    if proof is not None:
        return way_from(proof, commitment, part)
    if commitment.algorithm != "sha256":
        raise FormatError(
            f"OpenTimestamps starts at a SHA-256 digest, and the commitment is {commitment.algorithm}",
            hint="anchor the root of a run, which is SHA-256 always",
        )
    return Way(commitment.value, (), None)


def _checked(receipt: Receipt) -> CheckedAnchor:
    if receipt.evidence.get("format") != ANCHOR_FORMAT:
        raise FormatError(
            f"the receipt of {receipt.reference[:80]!r} has no evidence of a block yet",
            hint="run 'mrv flush' when the transaction is in a block, then export again",
        )
    chain = CHAINS_BY_ID.get(receipt.network_id)
    return check_evidence(receipt.evidence, receipt.reference, receipt.commitment, chain)


def _to_block(checked: CheckedAnchor) -> list[Operation]:
    """Return the way from the commitment through the transaction to the block's Merkle root."""
    transaction = checked.transaction
    start = transaction.outputs[checked.output_index].offset + COMMITMENT_OFFSET
    before, after = transaction.stripped[:start], transaction.stripped[start + DIGEST_SIZE :]
    operations = [Operation("prepend", before), Operation("append", after), SHA256, SHA256]
    index = checked.index
    for sibling in checked.branch:
        operations += [Operation("prepend" if index & 1 else "append", sibling), SHA256, SHA256]
        index >>= 1
    return operations
