# SPDX-License-Identifier: MIT
"""What a node shows of one transaction, and what follows from that for the anchor that it is to be."""

from __future__ import annotations

from dataclasses import dataclass

from mrv_backends_eth import values
from mrv_backends_eth.chain import Sighting
from mrv_backends_eth.chains import LOCALHOST
from mrv_backends_eth.finality import Finality, Tip
from mrv_backends_eth.form import Anchored, FailedTransactionError
from mrv_backends_eth.forms import Forms
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Node, SeenReceipt, SeenTransaction
from mrv_backends_eth.pending_evidence import PendingEvidence
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_eth.transactions import Transaction
from mrv_core.errors import AnchorConflictError, AnchorNotFoundError
from mrv_core.hashing import Digest
from mrv_core.models import Receipt, ReceiptState


@dataclass(frozen=True, slots=True)
class Observation:
    """What a node said about one transaction, all of it in one answer."""

    seen: SeenTransaction | None
    receipt: SeenReceipt | None
    tip: Tip


class Observer:
    """Looks for transactions by their hash. Thread-safe.

    Args:
        node: Where.
        forms: Read what transactions anchor.
        settings: What is final, and which chain it has to be.
        network: Configured name, for messages.
    """

    def __init__(self, node: Node, forms: Forms, settings: EthereumSettings, network: str) -> None:
        self._node = node
        self._forms = forms
        self._settings = settings
        self._network = network

    def finality(self) -> Finality:
        """Return what counts as final on this chain."""
        is_local = self._settings.network == LOCALHOST
        return Finality.of(self._settings.finality, self._node.chain_id(), is_local=is_local)

    def observe(self, transaction_hash: bytes) -> Observation:
        """Ask for a transaction, its receipt, and the end of the chain."""
        finality = self.finality()
        name = [to_hex(transaction_hash)]
        seen, receipt, *ends = self._node.ask(
            ("eth_getTransactionByHash", name), ("eth_getTransactionReceipt", name), *finality.calls
        )
        return Observation(
            self._node.transaction(seen, transaction_hash),
            self._node.receipt(receipt, transaction_hash),
            finality.read(self._node, ends),
        )

    def sighting(self, observed: Observation, transaction_hash: bytes) -> Sighting:
        """Say what a transaction anchors.

        Raises:
            AnchorNotFoundError: there is none, or it is no anchor.
            FailedTransactionError: it is in a block and anchored nothing.
        """
        seen = observed.seen
        if seen is None:
            raise AnchorNotFoundError(f"{self._node.name} has no transaction {to_hex(transaction_hash)}")
        form, commitment = self._forms.read(seen.transaction)
        if form is None or commitment is None:
            raise AnchorNotFoundError(
                f"transaction {to_hex(transaction_hash)} is no anchor: it neither calls storeHash or registerMRV of "
                "the configured contracts, nor carries a commitment to its own sender"
            )
        if seen.position is None:
            return self.waiting(seen.transaction, commitment)
        anchored = form.collect(self._node, seen, observed.receipt, commitment, observed.tip)
        return self._shown(anchored, observed.tip)

    def own(self, observed: Observation, transaction_hash: bytes) -> Sighting:
        """Say what became of a transaction that we sent.

        Raises:
            AnchorNotFoundError: see `sighting`.
            AnchorConflictError: it failed for good.
        """
        try:
            return self.sighting(observed, transaction_hash)
        except FailedTransactionError as error:
            if error.number <= observed.tip.final:
                raise AnchorConflictError(
                    f"{self._network}: transaction {to_hex(transaction_hash)} failed in block {error.number}: "
                    f"{error.reason}",
                    hint="it is anchored anew, with a new estimate",
                ) from error
            return self.waiting(error.transaction, error.commitment)  # its block may still leave the chain

    def check(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Recompute a receipt from its evidence of a block, and ask the node. See `Form.check`."""
        form = self._forms.of_evidence(receipt.evidence)
        anchored, tip = form.check(self._node, self.finality(), transaction_hash, receipt)
        return self._shown(anchored, tip)

    def _shown(self, anchored: Anchored, tip: Tip) -> Sighting:
        facts = {
            "block_number": anchored.number,
            "submitter": values.address_text(anchored.submitter),
            "finality": self.finality().rule,
            **anchored.facts,
        }
        believed = f"block {anchored.proven_in} is in the chain eip155:{self._node.chain_id()}"
        if anchored.recorded_in != anchored.proven_in:  # which its header does not show
            believed += f", and that the record was made in block {anchored.recorded_in}"
        return Sighting(
            commitment=anchored.commitment,
            state=tip.state(anchored.number),
            block_time=anchored.block_time,
            evidence=anchored.evidence,
            confirmations=tip.confirmations(anchored.number),
            facts=facts,
            trusts=self._trusts(believed),
        )

    def waiting(self, transaction: Transaction, commitment: Digest) -> Sighting:
        """Say of a transaction that the node has it, and no more."""
        return Sighting(
            commitment,
            ReceiptState.PENDING,
            evidence=PendingEvidence(transaction=transaction.raw).to_json(),
            trusts=self._trusts("the transaction waits to be included"),
        )

    def _trusts(self, what: str) -> tuple[str, ...]:
        believed = f"the node {self._node.name} was believed that {what}"
        if self._settings.chain_id is not None:
            return (believed,)
        return believed, "the settings name no chain_id; which chain it is was believed too"
