# SPDX-License-Identifier: MIT
"""What a receipt holds of a transaction that is in no block yet: the signed transaction, which proves no time."""

from __future__ import annotations

from typing import Any, Final, Literal

from mrv_backends_eth.block_evidence import Evidence
from mrv_backends_eth.hexadecimal import Hex, to_hex
from mrv_backends_eth.transactions import Transaction
from mrv_core.errors import FormatError, VerificationError

PENDING_FORMAT: Final = "mrv-evidence-ethereum-pending/1"


class PendingEvidence(Evidence):
    """A transaction that waits.

    Attributes:
        format: Version of this format.
        transaction: Its bytes, whose Keccak-256 is the receipt's reference.
    """

    format: Literal["mrv-evidence-ethereum-pending/1"] = PENDING_FORMAT
    transaction: Hex


def is_pending(evidence: dict[str, Any]) -> bool:
    """Tell whether evidence is of a transaction that waits, or is not there at all."""
    return not evidence or evidence.get("format") == PENDING_FORMAT


def parse_pending_evidence(value: dict[str, Any], transaction_hash: bytes) -> Transaction | None:
    """Read the evidence of a transaction that waits; None where there is none.

    Args:
        value: See `is_pending`.
        transaction_hash: The hash that it must have, 32 bytes.

    Raises:
        VerificationError: malformed, or another transaction.
    """
    if not value:
        return None
    try:
        transaction = Transaction.parse(PendingEvidence.read(value).transaction)
    except FormatError as error:
        raise VerificationError(error.message) from error
    if transaction.hash != transaction_hash:
        raise VerificationError(
            f"the evidence is about the transaction {to_hex(transaction.hash)}, not {to_hex(transaction_hash)}"
        )
    return transaction
