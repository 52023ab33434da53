# SPDX-License-Identifier: MIT
"""Checks a receipt of IPFS with nobody asked (`mrv_core.driver.Examine`, docs/networks/ipfs.md)."""

from __future__ import annotations

from typing import Final

from mrv_backends_ipfs.evidence import NETWORK_ID, check_evidence
from mrv_core.driver import TrustedFacts
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import ExaminedReceipt, Receipt, ReceiptState

DRIVER: Final = "ipfs"


def examine(receipt: Receipt, commitment: Digest, trusted: TrustedFacts) -> ExaminedReceipt:
    """Check a receipt's claims, and that its block has its CID and states the commitment.

    Nothing that a verifier may know beforehand bears on a CID, so nothing of `trusted` is used.

    Raises:
        VerificationError: something in it is wrong.
    """
    check_claims(receipt, commitment)
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


def check_claims(receipt: Receipt, commitment: Digest, **own: object) -> None:
    """Check what a receipt claims besides its evidence.

    Args:
        receipt: The receipt.
        commitment: What it has to be about.
        own: Further fields and what they have to be.

    Raises:
        VerificationError: a claim that this driver never makes, or another commitment.
    """
    claims = {
        "driver": DRIVER,
        "network_id": NETWORK_ID,
        "state": ReceiptState.FINAL,
        "block_time": None,
        "commitment": commitment,
        **own,
    }
    for name, actual in claims.items():
        claimed = getattr(receipt, name)
        if claimed != actual:
            shown = ascii(claimed[:80]) if isinstance(claimed, str) else claimed
            raise VerificationError(
                f"the receipt claims {name} {shown}, but it is {actual}",
                hint="verify it with the settings it was anchored with" if name == "embedded" else None,
            )
