# SPDX-License-Identifier: MIT
"""What the driver needs from a chain, however it reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mrv_core.driver import Capabilities, Deployment, Registration
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt, ReceiptState

EMBEDDED_CHAIN_ID: Final = 131277322940537
"""eth-tester's chain id, which no public chain uses."""
EMBEDDED_CONTRACT: Final = bytes.fromhex("f2e246bb76df876cef8b38ae84130f4f55de395b")
"""Where the contract is on every embedded chain: it follows from the deployer's address and nonce 0 alone."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it is sent.

    Attributes:
        raw: Its bytes.
        hash: Its hash, 32 bytes.
        details: What the chain wants to know again when it is sent, maybe by another process.
    """

    raw: bytes
    hash: bytes
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a chain shows of an anchor now.

    Attributes:
        commitment: What the transaction anchors.
        state: How far it has come.
        block_time: Seconds since 1970 that the chain attests, once it is included.
        evidence: The proof, once it is included; JSON.
        confirmations: Blocks on top, counting the including one.
        facts: Further checked facts for people to read.
        trusts: What remains to be trusted, one sentence each.
    """

    commitment: Digest
    state: ReceiptState
    block_time: int | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    confirmations: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    trusts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What the registry has under an id.

    Attributes:
        transaction_hash: Of the registration in question, 32 bytes, where there is one.
        others: What else is registered, see `mrv_core.driver.Registered`.
        submitters: How many have registered the id.
    """

    transaction_hash: bytes | None
    others: tuple[Registration, ...]
    submitters: int


class Chain(Protocol):
    """One chain on which commitments can be anchored. Safe to share between threads; opens nothing when it is built.

    Every method raises `BackendUnavailableError` where the chain cannot be asked.
    """

    capabilities: Capabilities

    def network_id(self) -> str:
        """Return `eip155:` and the chain id."""

    def sign(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[SignedTransaction]:
        """Build and sign the transactions of anchors, as if each were sent before the next; nothing is sent.

        Raises:
            FormatError: a commitment or metadata that the chain does not take.
            ConfigurationError: the settings lack something, or allow less gas than it needs.
            SubmissionRejectedError: the contract would refuse it.
        """

    def send(self, transaction: SignedTransaction) -> Sighting:
        """Send a transaction, unless the chain has it already, and look what became of it.

        Raises:
            SubmissionRejectedError: the chain refuses it.
            AnchorConflictError: it can never be included any more.
        """

    def send_many(self, transactions: Sequence[SignedTransaction]) -> list[Sighting | None]:
        """Send transactions in this order, and say which the chain has afterwards; None stands for any other."""

    def look(self, transaction_hash: bytes) -> Sighting:
        """Look for an anchor and collect the evidence for it as it stands now.

        Raises:
            AnchorNotFoundError: no such transaction, or one that anchored nothing.
        """

    def look_again(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Look again for an anchor of which there is a receipt.

        Raises:
            AnchorNotFoundError: the chain does not have it any more.
            AnchorConflictError: it failed for good.
        """

    def check(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Recompute a receipt from its evidence, and ask the chain what only it can say.

        Raises:
            VerificationError: the evidence is wrong, or is not about this commitment or transaction.
            AnchorNotFoundError: the chain does not have it.
        """

    def replace(self, transaction: SignedTransaction, *, was_refused: bool) -> SignedTransaction | None:
        """Sign a replacement that pays more, or return None where waiting is better or the cap is reached.

        Args:
            transaction: What was sent.
            was_refused: Whether the chain refused it, so that there is nothing to wait for.
        """

    def are_new(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[bool]:
        """Tell of each commitment whether our key has certainly not anchored it, and has nothing of it on its way."""

    def find(self, commitment: Digest, metadata: Metadata) -> bytes | None:
        """Return the hash of the transaction with which our own key first anchored a commitment, or None.

        Raises:
            SubmissionRejectedError: our key registered another hash under its MRV id.
        """

    def find_registered(self, mrv_id: str, commitment: Digest) -> Found:
        """Ask the registry what is registered under an id; only where `Capabilities.registers` is set."""

    def deploy(self, contract: str) -> Deployment:
        """Deploy a contract of this project by name."""

    def status(self) -> tuple[bool, str]:
        """Tell whether anchoring could be tried now, and say in one line how the chain is."""

    def close(self) -> None:
        """Release connections."""
