# SPDX-License-Identifier: MIT
"""What the driver needs from a chain, however it reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mrv_backends_eth.evidence import EthereumEvidence


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it is sent, and its hash, 32 bytes."""

    raw: bytes
    hash: bytes


class Chain(Protocol):
    """One chain with one MLProvenance contract on it. Safe to share between threads.

    Every method raises `BackendUnavailableError` where the chain cannot be asked.
    """

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""

    @property
    def contract(self) -> bytes:
        """Address of the contract, 20 bytes."""

    def sign(self, root: bytes, label: str) -> SignedTransaction:
        """Build and sign a call of `storeHash`; nothing is sent.

        Raises:
            ConfigurationError: it needs more gas than the settings allow.
            SubmissionRejectedError: the contract would refuse it.
        """

    def send(self, transaction: SignedTransaction) -> None:
        """Send a transaction, unless the chain has it already.

        Raises:
            SubmissionRejectedError: the chain refuses it.
        """

    def evidence(self, transaction_hash: bytes) -> EthereumEvidence:
        """Collect the evidence for an anchor as it stands now.

        Raises:
            AnchorNotFoundError: no such transaction, or one that anchored nothing.
        """

    def confirmations(self, block_number: int, block_hash: bytes) -> int:
        """Count the blocks from this one to the newest, both included; 0 where it is not in the chain."""

    def describe(self) -> str:
        """Say in one line how the chain is."""
