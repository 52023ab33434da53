# SPDX-License-Identifier: MIT
"""Anchoring without a contract: a commitment in the data of a transaction that its sender sends to itself.

The data are four bytes, `MRV1`, and the 32 bytes of a SHA-256 commitment. Given a block header, one trie proof shows
that the transaction is in the block; its bytes show chain, sender and commitment. Whether it succeeded plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from mrv_backends_eth import rlp, trie
from mrv_backends_eth.block_evidence import BlockEvidence
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import Proof
from mrv_backends_eth.transactions import Transaction, UnknownTypeError
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest

CALLDATA_FORMAT: Final = "mrv-evidence-ethereum-calldata/1"
TAG: Final = b"MRV1"
"""Stands before the commitment, and for the algorithm SHA-256: another one would get another tag."""
_ALGORITHM: Final = "sha256"


class CalldataEvidence(BlockEvidence):
    """Everything needed to recompute an anchor from a block hash.

    Attributes:
        format: Version of this format.
        transaction_index: Zero-based position of the transaction in the block.
        transaction_proof: Nodes from the header's transactions root to the transaction.
    """

    format: Literal["mrv-evidence-ethereum-calldata/1"] = CALLDATA_FORMAT
    transaction_index: int = Field(ge=0, lt=2**32)
    transaction_proof: Proof


@dataclass(frozen=True, slots=True)
class ProvenTransaction:
    """What the evidence proves, given its header.

    Attributes:
        header: The block of the transaction.
        transaction: The transaction.
        commitment: What is in its data.
        submitter: Who signed it, 20 bytes.
    """

    header: Header
    transaction: Transaction
    commitment: Digest
    submitter: bytes


def encode_payload(commitment: Digest) -> bytes:
    """Return the data of a transaction that anchors a commitment.

    Raises:
        FormatError: a commitment that is no SHA-256 digest.
    """
    if commitment.algorithm != _ALGORITHM:
        raise FormatError(
            f"mode calldata carries SHA-256 commitments, not {commitment.algorithm}",
            hint="use mode contract for commitments of other algorithms; trees are always SHA-256",
        )
    return TAG + commitment.value


def decode_payload(transaction: Transaction) -> Digest | None:
    """Return the commitment in a transaction's data, or None where it has not this form."""
    data = transaction.input
    return Digest(_ALGORITHM, data[4:]) if data[:4] == TAG and len(data) == 36 else None


def verify_calldata_evidence(evidence: CalldataEvidence) -> ProvenTransaction:
    """Recompute everything that follows from the evidence's header.

    Raises:
        VerificationError: something in the evidence is wrong.
    """
    # 1. Number and hash are the header's.
    header = evidence.proven_header()
    # 2. The transaction is in the block.
    key = rlp.encode_int(evidence.transaction_index)
    raw = trie.verify(header.transactions_root, key, evidence.transaction_proof)
    if raw is None:
        raise VerificationError("the transaction is not in the block")
    # 3. Its sender sent it to itself, and its data are a commitment.
    try:
        return _proven(header, Transaction.parse(raw))
    except UnknownTypeError as error:  # of which no anchor is made
        raise VerificationError(error.message) from error


def _proven(header: Header, transaction: Transaction) -> ProvenTransaction:
    commitment = decode_payload(transaction)
    if commitment is None:
        raise VerificationError("the transaction's data are not a commitment behind the tag MRV1")
    submitter = transaction.sender()
    if transaction.to != submitter:
        raise VerificationError("the transaction was not sent by its receiver to itself")
    return ProvenTransaction(header, transaction, commitment, submitter)
