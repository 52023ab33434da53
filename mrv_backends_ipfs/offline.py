# SPDX-License-Identifier: MIT
"""Checks a receipt of IPFS with nobody asked (`mrv_core.driver.Examine`, docs/networks/ipfs.md)."""

from __future__ import annotations

from mrv_backends_ipfs.evidence import NETWORK_ID, check_evidence
from mrv_core.driver import TrustedFacts
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import ExaminedReceipt, Receipt, ReceiptState


def examine(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Check a receipt's claims, and that its block has its CID and states the commitment.

    Nothing that a verifier may know beforehand bears on a CID, so nothing of `trusted` is used.

    Raises:
        VerificationError: something in it is wrong.
    """
    _check_claims(receipt, commitment)
    cid, block, statement = check_evidence(receipt.evidence, receipt.reference, commitment)
    return ExaminedReceipt(
        network_id=NETWORK_ID,
        reference=receipt.reference,
        commitment=commitment,
        state=ReceiptState.FINAL,
        facts={"block_bytes": len(block), "sha256": cid.digest.hex(), "metadata": statement.metadata},
        remaining=(
            f"that somebody still keeps the block {cid}: ask a daemon or a gateway for /ipfs/{cid}, and compare the "
            f"SHA-256 of what it delivers with {cid.digest.hex()}",
        ),
    )


def _check_claims(receipt: Receipt, commitment: Digest) -> None:
    claims = {
        "driver": (receipt.driver, "ipfs"),
        "network_id": (receipt.network_id, NETWORK_ID),
        "state": (receipt.state, ReceiptState.FINAL),
        "block_time": (receipt.block_time, None),
        "commitment": (receipt.commitment, commitment),
    }
    for claim, (claimed, actual) in claims.items():
        if claimed != actual:
            raise VerificationError(f"the receipt claims {claim} {claimed}, but it is {actual}")
