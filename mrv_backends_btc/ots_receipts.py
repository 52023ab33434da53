# SPDX-License-Identifier: MIT
"""Receipts made of OpenTimestamps proofs of others, checked against the user's own node."""

from __future__ import annotations

from typing import Any, Final

from mrv_backends_btc.header import Header
from mrv_backends_btc.locate import Locator
from mrv_backends_btc.node import Node
from mrv_backends_btc.offline import DRIVER, check_floor, check_time, ots_facts
from mrv_backends_btc.ots_evidence import (
    BlockClaim,
    CheckedOts,
    OtsEvidence,
    check_ots_evidence,
    read_proof,
    reference_of,
)
from mrv_backends_btc.replies import HeaderInfo
from mrv_backends_btc.settings import BitcoinSettings
from mrv_core.errors import AnchorNotFoundError, BackendError, RootMismatchError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Receipt, ReceiptState, VerifiedAnchor, utc_now

_OLDEST_WORK: Final = 64
"""What a block has cost since 2014, as a power of two: proofs may be older than the anchors of this project."""


class OtsReceipts:
    """Imports, upgrades and verifies the proofs of one network.

    Args:
        network: Configured name.
        node: The node.
        locator: Says when a block is final.
        settings: Which chain, and what a block must have cost.
    """

    def __init__(self, network: str, node: Node, locator: Locator, settings: BitcoinSettings) -> None:
        self._network = network
        self._node = node
        self._locator = locator
        self._chain = settings.chain
        self._floor = min(self._chain.min_work, _OLDEST_WORK) if settings.min_work is None else settings.min_work

    def read(self, data: bytes, commitment: Digest | None) -> Receipt:
        """Make a pending receipt of a proof; nobody is asked.

        Args:
            data: The `.ots` file's bytes.
            commitment: What it should be about, where that is known.

        Raises:
            FormatError: malformed, or attesting nothing that can be checked.
            RootMismatchError: it is about something else.
        """
        digest, _ = read_proof(data)
        if commitment is not None and digest != commitment:
            raise RootMismatchError(
                "the OpenTimestamps proof is about another file", expected=str(commitment), computed=str(digest)
            )
        return Receipt(
            network=self._network,
            driver=DRIVER,
            network_id=self._chain.network_id,
            embedded=False,
            commitment=digest,
            state=ReceiptState.PENDING,
            reference=reference_of(data),
            submitted_at=utc_now(),
            evidence=OtsEvidence(format="mrv-evidence-ots/1", ots=data.hex()).to_json(),
        )

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Ask the node for a block of the proof; a proof that only calendars attest stays as it is.

        Raises:
            VerificationError: the receipt is malformed, or the chain's block has another Merkle root.
            AnchorNotFoundError: the block has left the chain, or the chain is not so long.
            BackendError: the node cannot be asked, or the proof rests on a weak hash.
        """
        checked = self._check(receipt, receipt.commitment)
        if not checked.claims:
            return receipt.model_copy(update={"state": ReceiptState.PENDING})
        info, header = self._block(checked)
        evidence: dict[str, Any] = {
            **receipt.evidence,
            "height": info.height,
            "block_hash": info.hash,
            "header": header.data.hex(),
        }
        return receipt.model_copy(
            update={
                "state": self._locator.state(info.confirmations),
                "block_time": header.time,
                "evidence": evidence,
            }
        )

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check a receipt: its proof by itself, then the node's block at the attested height.

        Raises:
            VerificationError: the receipt is wrong, or the chain's block has another Merkle root.
            AnchorNotFoundError: the block has left the chain, or the chain is not so long.
            BackendError: the node cannot be asked, or the proof rests on a hash that is too weak to tell two files
                apart.
        """
        checked = self._check(receipt, commitment)
        common: dict[str, Any] = {
            "network": self._network,
            "network_id": self._chain.network_id,
            "reference": receipt.reference,
            "commitment": commitment,
        }
        if not checked.claims:
            names = ", ".join(checked.calendars)
            trust = f"The calendars {names} are trusted to bring it into a block of Bitcoin; run 'ots upgrade' later."
            return VerifiedAnchor(**common, state=ReceiptState.PENDING, facts=ots_facts(checked), trusts=(trust,))
        info, header = self._block(checked)
        facts = {**ots_facts(checked), "block_hash": info.hash, "block_height": info.height}
        return VerifiedAnchor(
            **common,
            state=self._locator.state(info.confirmations),
            block_time=header.time,
            confirmations=info.confirmations,
            facts=facts,
            trusts=self._node.trusts(),
        )

    def _check(self, receipt: Receipt, commitment: Digest) -> CheckedOts:
        checked = check_ots_evidence(receipt.evidence, receipt.reference, commitment, self._chain)
        if checked.header is not None:
            check_time(receipt, checked.header)
        elif receipt.block_time is not None:
            raise VerificationError("the receipt claims a block time without evidence of a block")
        return checked

    def _block(self, checked: CheckedOts) -> tuple[HeaderInfo, Header]:
        """Return the first block that the proof leads to and the chain has; only the one of the evidence, if any."""
        self._node.check()
        claims = checked.claims if checked.shown is None else (checked.shown,)
        other = None
        for claim in claims:
            at_height = self._node.header_at(claim.height)
            if at_height is None:
                continue
            info, header = at_height
            if header.merkle_root == claim.root and checked.header in (None, header):
                self._accept(claim, header)
                return info, header
            other = claim, header
        if other is None:
            heights = ", ".join(str(claim.height) for claim in claims)
            raise AnchorNotFoundError(f"{self._node.name}: the chain has no block {heights} yet")
        claim, header = other
        if checked.header is not None:
            raise AnchorNotFoundError(
                f"{self._node.name}: block {checked.header.hash_hex} is not in the chain",
                hint="the chain was reorganised; import the proof again",
            )
        raise RootMismatchError(
            f"{self._node.name}: block {claim.height} has another Merkle root than the OpenTimestamps proof leads to",
            expected=header.merkle_root[::-1].hex(),
            computed=claim.root_hex,
        )

    def _accept(self, claim: BlockClaim, header: Header) -> None:
        if claim.weak:
            raise BackendError(
                f"the OpenTimestamps proof rests on {' and '.join(claim.weak)}, which does not tie it to one file",
                hint="stamp the file again; today's clients use SHA-256 only",
            )
        header.check_work(easiest_bits=self._chain.easiest_bits)
        check_floor(header, self._chain, self._floor)
