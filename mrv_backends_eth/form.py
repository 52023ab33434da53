# SPDX-License-Identifier: MIT
"""In which form a commitment stands on a real chain: kept by a contract, or in a transaction's data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mrv_backends_eth.finality import Finality, Tip
from mrv_backends_eth.node import Call, Node, SeenReceipt, SeenTransaction
from mrv_backends_eth.transactions import Transaction
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer


@dataclass(frozen=True, slots=True)
class Anchored:
    """An anchor that is in a block.

    Attributes:
        commitment: What it anchors.
        submitter: Who signed the transaction, 20 bytes.
        number: Block of the transaction.
        proven_in: Block that the proof leads to: that of the transaction, or a later one.
        recorded_in: Block that has the time: that of the transaction, or an earlier one.
        block_time: Seconds since 1970 that the chain attests.
        evidence: The proof; JSON.
        facts: What else is known of it.
    """

    commitment: Digest
    submitter: bytes
    number: int
    proven_in: int
    recorded_in: int
    block_time: int
    evidence: dict[str, Any]
    facts: dict[str, Any]


class FailedTransactionError(Exception):
    """A transaction is in a block and anchored nothing. Never leaves the package."""

    def __init__(self, transaction: Transaction, commitment: Digest, number: int, reason: str) -> None:
        super().__init__(reason)
        self.transaction = transaction
        self.commitment = commitment
        self.number = number
        self.reason = reason


class Form(Protocol):
    """One form. Has no state but its settings."""

    @property
    def name(self) -> str:
        """What keeps it, for people: a contract's name."""

    def target(self, sender: bytes) -> bytes:
        """Return the receiver, 20 bytes, of a transaction that anchors.

        Raises:
            ConfigurationError: the settings do not name it.
        """

    def payload(self, writer: Writer, commitment: Digest, metadata: Metadata) -> bytes:
        """Return the data of a transaction that anchors a commitment.

        Raises:
            FormatError: a commitment or metadata that this form does not carry.
        """

    def commitment(self, transaction: Transaction) -> Digest | None:
        """Return what a transaction anchors if it succeeds, or None where it has not this form."""

    def usability_calls(self, *, with_proof: bool) -> list[Call]:
        """Questions that show whether transactions of this form do anything on a chain.

        Args:
            with_proof: Ask too whether the node can prove it.
        """

    def check_usability(self, node: Node, answers: Sequence[Any]) -> None:
        """Read the answers.

        Raises:
            ConfigurationError: such transactions would do nothing.
            BackendUnavailableError: the node could not prove them.
        """

    def collect(
        self, node: Node, seen: SeenTransaction, receipt: SeenReceipt | None, commitment: Digest, tip: Tip
    ) -> Anchored:
        """Collect and check the evidence for a transaction that is in a block and is to anchor a commitment.

        Raises:
            FailedTransactionError: it anchored nothing.
            BackendUnavailableError: the node cannot show the proof, or contradicts itself.
        """

    def check(self, node: Node, finality: Finality, transaction_hash: bytes, receipt: Receipt) -> tuple[Anchored, Tip]:
        """Recompute a receipt from its evidence, and ask the node what only it can say. See `Chain.check`."""
