# SPDX-License-Identifier: MIT
"""The Bitcoin driver: one OP_RETURN output for each anchor, paid by a wallet of the user's own node."""

from __future__ import annotations

from typing import Any, ClassVar

from mrv_backends_btc.evidence import CheckedAnchor, check_evidence
from mrv_backends_btc.locate import Locator
from mrv_backends_btc.merkle import check_place
from mrv_backends_btc.node import Node
from mrv_backends_btc.offline import DRIVER, TXID, anchor_facts, check_claims, check_floor, check_time
from mrv_backends_btc.ots_evidence import FORMAT as OTS_FORMAT
from mrv_backends_btc.ots_evidence import REFERENCE_PREFIX
from mrv_backends_btc.ots_export import BatchPlace, OtsExport, export_ots
from mrv_backends_btc.ots_path import Part
from mrv_backends_btc.ots_receipts import OtsReceipts
from mrv_backends_btc.payment import Payments
from mrv_backends_btc.replies import HeaderInfo
from mrv_backends_btc.rpc import NodeRpc
from mrv_backends_btc.settings import BitcoinSettings
from mrv_backends_btc.spending import Spending
from mrv_backends_btc.submission import Submission
from mrv_backends_btc.wallet import Wallet
from mrv_core.driver import Capabilities, DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    ConfigurationError,
    FormatError,
    MrvError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import DriverStatus, Metadata, Prepared, Receipt, ReceiptState, VerifiedAnchor
from mrv_core.provenance_tree import NodeProof


class BitcoinDriver:
    """Anchors in Bitcoin through a node; also makes and checks OpenTimestamps proofs. Thread-safe.

    Building it asks nobody.
    """

    name: ClassVar[str] = DRIVER

    def __init__(self, context: DriverContext) -> None:
        self._settings: BitcoinSettings = context.settings
        self._network = context.network
        self._chain = self._settings.chain
        self._rpc = NodeRpc(self._settings)
        self._node = Node(self._rpc, self._chain)
        name = self._settings.wallet
        self._wallet = None if name is None else Wallet(self._rpc, name)
        spending = None if self._wallet is None else Spending(self._rpc, self._node, self._wallet)
        self._locator = Locator(self._network, self._node, self._wallet, self._settings)
        self._ots = OtsReceipts(self._network, self._node, self._locator, self._settings)
        self._submission = Submission(self._rpc, self._node, self._locator, spending, self._settings.final_after)
        self._payments = (
            None
            if self._wallet is None or spending is None
            else Payments(
                self._network, self._rpc, self._node, self._wallet, spending, self._settings, context.store_dir
            )
        )
        self.capabilities = Capabilities(
            attests_time=True,
            embedded=False,
            mines_later=True,
            # A block's time may be two hours ahead of the network's, and the next one's need only be later than the
            # median of the eleven before it, about an hour back.
            time_tolerance_s=3 * 3600,
            replaces=self._wallet is not None,
            searches=self._wallet is not None,
        )

    def __repr__(self) -> str:
        return f"BitcoinDriver({self._network!r}, {self._node.name})"

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Build and sign a transaction with the commitment; the metadata has no room in it.

        Raises:
            ConfigurationError: no wallet is configured.
            BackendError: the node or its wallet cannot make one now; the message says why.
            StorageError: the network's folder cannot be written.
        """
        return self._paying().prepare(commitment)

    def submit(self, prepared: Prepared) -> Receipt:
        """Send the prepared transaction; one that is there already is a success.

        Raises:
            AnchorConflictError: another use of its outputs is final.
            SubmissionRejectedError: the bytes are not what they should be, or the node does not take them now.
            BackendError: the node cannot be asked, or another use of its outputs is on its way.
        """
        return self._submission.send(prepared, self._paying().max_fee_rate())

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor from its transaction id.

        Raises:
            FormatError: not a transaction id.
            AnchorNotFoundError: not in the chain and not on its way, or without a commitment of ours.
            BackendError: the node cannot be asked, or cannot know without an index of transactions.
        """
        if reference.startswith(REFERENCE_PREFIX):
            raise AnchorNotFoundError(
                "an OpenTimestamps proof cannot be found by its digest", hint="import the .ots file again"
            )
        _check_txid(reference)
        self._node.check()
        return self._locator.receipt(self._locator.find(reference))

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again, and attach evidence once the transaction is in a block.

        Raises:
            AnchorNotFoundError: neither in the chain nor on its way any more.
            AnchorConflictError: another use of its outputs is final.
            VerificationError: the receipt is wrong.
            BackendError: the node cannot be asked, or another use of its outputs is in the chain and not final yet.
        """
        self._check_claims(receipt, receipt.commitment)
        if receipt.evidence.get("format") == OTS_FORMAT:
            return self._ots.upgrade(receipt)
        self._node.check()
        known = self._still_included(receipt) if receipt.evidence else None
        if known is not None:
            return receipt.model_copy(update={"state": self._locator.state(known.confirmations)})
        try:
            found = self._locator.find(receipt.reference, receipt.evidence.get("block_hash"))
        except AnchorNotFoundError:
            self._check_conflict(receipt.reference)
            raise
        fresh = self._locator.receipt(found, receipt.submitted_at)
        if fresh.commitment != receipt.commitment:
            raise VerificationError(
                f"transaction {fresh.reference} holds {fresh.commitment}, but its receipt claims {receipt.commitment}"
            )
        return fresh

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Check a receipt.

        1. The receipt makes no claim that this network cannot keep, and is about this commitment.
        2. Its evidence holds by itself; see `check_evidence`. One without evidence is looked up, and the evidence
           that the node gives is checked in its place.
        3. The header has cost at least what the settings ask for.
        4. The node has that block in its chain, at that height, with as many transactions as the evidence suits.

        Raises:
            VerificationError: any of the claims or the evidence is wrong.
            AnchorNotFoundError: the block or the transaction is not in the chain.
            BackendError: the node cannot be asked, or cannot know without an index of transactions.
        """
        self._check_claims(receipt, commitment)
        if receipt.evidence.get("format") == OTS_FORMAT:
            return self._ots.verify(receipt, commitment)
        self._node.check()
        if not receipt.evidence:
            receipt = self._locator.receipt(self._locator.find(receipt.reference), receipt.submitted_at)
            if receipt.commitment != commitment:
                raise VerificationError(f"transaction {receipt.reference} holds {receipt.commitment}, not {commitment}")
        if receipt.state is ReceiptState.PENDING and not receipt.evidence:
            return self._verified(receipt, ReceiptState.PENDING, trusts=self._node.trusts()[:1])
        checked = self._check(receipt, commitment)
        info = self._require_in_chain(checked)
        return self._verified(
            receipt,
            self._locator.state(info.confirmations),
            block_time=checked.header.time,
            confirmations=info.confirmations,
            facts=anchor_facts(checked),
            trusts=self._node.trusts(),
        )

    def replace(self, prepared: Prepared, receipt: Receipt | None) -> Prepared | None:
        """Outbid a transaction that waits, or was refused for its fee; see `ReplacingDriver`.

        Raises:
            ConfigurationError: no wallet is configured.
            BackendError: the node or its wallet cannot make one now.
        """
        return self._paying().replace(prepared, receipt)

    def find(self, commitment: Digest, metadata: Metadata) -> Receipt | None:
        """Search the wallet for an anchor of a commitment; see `SearchingDriver`.

        Raises:
            BackendError: the node cannot be asked, or the wallet has one that may be sent again at any time.
        """
        self._node.check_synced()
        return self._locator.by_commitment(commitment)

    def export_ots(
        self,
        receipt: Receipt,
        *,
        commitment: Digest | None = None,
        proof: NodeProof | None = None,
        part: Part = "root",
        batch: BatchPlace | None = None,
    ) -> OtsExport:
        """Return an OpenTimestamps proof of an anchor; nobody is asked. See `mrv_backends_btc.ots_export`."""
        return export_ots(receipt, commitment=commitment, proof=proof, part=part, batch=batch)

    def import_ots(self, data: bytes, commitment: Digest | None = None) -> Receipt:
        """Make a pending receipt of an OpenTimestamps proof; `upgrade` then asks the node for its block.

        Args:
            data: The `.ots` file's bytes.
            commitment: What it should be about, where that is known.

        Raises:
            FormatError: malformed, about a file known by another hash than SHA-256, or attesting nothing that counts.
            RootMismatchError: it is about something else.
        """
        return self._ots.read(data, commitment)

    def status(self) -> DriverStatus:
        """Say whether an anchor could be made now."""
        try:
            detail, ready = self._describe()
        except MrvError as error:
            detail, ready = error.message, False
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=self._chain.network_id,
            embedded=False,
            ready=ready,
            detail=detail,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._rpc.close()

    def _describe(self) -> tuple[str, bool]:
        blocks = self._node.check_synced().blocks
        place = f"{self._chain.name}, {blocks} blocks"
        if self._wallet is None:
            return f"{place}, verifies only: no wallet is configured", False
        self._wallet.check_can_sign()
        spendable = self._wallet.balances().mine.trusted
        return f"{place}, wallet {self._wallet.name!r} can spend {spendable} sat", spendable > 0

    def _paying(self) -> Payments:
        if self._payments is None:
            raise ConfigurationError(
                f"network {self._network!r} has no wallet, so it only verifies",
                hint="name a wallet of the node with 'wallet'",
            )
        return self._payments

    def _check_claims(self, receipt: Receipt, commitment: Digest) -> None:
        check_claims(receipt, commitment)
        claims = {
            "network": (receipt.network, self._network),
            "network_id": (receipt.network_id, self._chain.network_id),
        }
        for claim, (claimed, actual) in claims.items():
            if claimed != actual:
                raise VerificationError(f"the receipt claims {claim} {claimed[:80]!r}, but it is {actual!r}")

    def _check(self, receipt: Receipt, commitment: Digest) -> CheckedAnchor:
        checked = check_evidence(receipt.evidence, receipt.reference, commitment, self._chain)
        check_time(receipt, checked.header)
        check_floor(checked.header, self._chain, self._settings.min_work)
        return checked

    def _still_included(self, receipt: Receipt) -> HeaderInfo | None:
        """Return what the node says of the block in the evidence, or None where it is not in the chain any more."""
        checked = self._check(receipt, receipt.commitment)
        info = self._node.header(checked.header.hash_hex)
        if info is None or info.confirmations < 1:
            return None
        _check_against(checked, info)
        return info

    def _require_in_chain(self, checked: CheckedAnchor) -> HeaderInfo:
        info = self._node.header(checked.header.hash_hex)
        if info is None or info.confirmations < 1:
            raise AnchorNotFoundError(
                f"{self._node.name}: block {checked.header.hash_hex} is not in the chain",
                hint="the chain was reorganised: run 'mrv flush' to find the anchor's new block, then verify again",
            )
        _check_against(checked, info)
        return info

    def _check_conflict(self, txid: str) -> None:
        known = None if self._wallet is None else self._wallet.transaction(txid)
        if known is not None:
            self._submission.check_conflict(self._node.parse(known.hex, txid, "gettransaction"))

    def _verified(self, receipt: Receipt, state: ReceiptState, **found: Any) -> VerifiedAnchor:
        return VerifiedAnchor(
            network=self._network,
            network_id=self._chain.network_id,
            reference=receipt.reference,
            commitment=receipt.commitment,
            state=state,
            **found,
        )


def _check_txid(reference: str) -> None:
    if not TXID.fullmatch(reference):
        raise FormatError(f"{reference[:80]!r} is no transaction id", hint="it has 64 lower-case hexadecimal digits")


def _check_against(checked: CheckedAnchor, info: HeaderInfo) -> None:
    """Compare evidence with what the node knows of the same block."""
    if info.height != checked.height:
        raise VerificationError(f"block {info.hash} is at height {info.height}, not at {checked.height}")
    if info.n_tx:  # 0 where the node has the header only
        check_place(checked.transaction.txid, checked.index, checked.branch, info.n_tx)
