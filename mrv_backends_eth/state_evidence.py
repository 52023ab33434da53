# SPDX-License-Identifier: MIT
"""Evidence that the state of a real chain keeps a record of a commitment, checked with nothing but hashing.

Given a block header, two trie proofs (EIP-1186) show that the account at an address has our contract's code, and that
its storage says when a submitter first stated a commitment. They do not show that the header belongs to the chain,
nor the transaction that made the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import Field

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import state
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import Hex, Proof, to_hex
from mrv_core.errors import FormatError, VerificationError
from mrv_core.models import Model

STATE_FORMAT: Final = "mrv-evidence-ethereum-state/1"


class StateEvidence(Model):
    """Everything needed to recompute a record from a block hash.

    Attributes:
        format: Version of this format.
        block_number, block_hash: The block whose state it is; both are recomputed from `header`. It is the block of
            the transaction, or a later one.
        header: The block header in RLP.
        contract: Address of the MLProvenance contract, 20 bytes.
        submitter: Address that stated the commitment, 20 bytes.
        account_proof: Nodes from the header's state root to the contract's account.
        storage_proof: Nodes from the account's storage root to the submitter's record.
    """

    format: Literal["mrv-evidence-ethereum-state/1"] = STATE_FORMAT
    block_number: int = Field(ge=0, lt=2**53)
    block_hash: Hex
    header: Hex
    contract: Hex
    submitter: Hex
    account_proof: Proof
    storage_proof: Proof


@dataclass(frozen=True, slots=True)
class ProvenRecord:
    """What evidence of a contract's state proves, given its header.

    Attributes:
        header: The block whose state it is.
        contract: Address with the contract's code.
        submitter: Who stated the root.
        first: When this submitter first stated it, as the contract says.
    """

    header: Header
    contract: bytes
    submitter: bytes
    first: mlprovenance.Submission

    @property
    def is_dated_by_header(self) -> bool:
        """Whether the header itself has the record's time.

        Otherwise only the contract says so, and whoever deploys its code can fill in its storage beforehand.
        """
        return self.first.block_number == self.header.number

    def is_of(self, text: str) -> bool:
        """Tell whether the record is of what was stated with this text. MLProvenance keeps a root whatever it says."""
        return True

    def facts(self) -> dict[str, Any]:
        """Return what else is proven, for people to read."""
        return {}


def proven_header(raw: bytes, number: int, block_hash: bytes) -> Header:
    """Read a header, and check that it has the number and the hash that the evidence names.

    Raises:
        VerificationError: it has not.
    """
    header = Header.parse(raw)
    if block_hash != header.hash or number != header.number:
        raise VerificationError(
            f"the evidence names block {number} {to_hex(block_hash)}, "
            f"its header is that of block {header.number} {to_hex(header.hash)}"
        )
    return header


def parse_state_evidence(value: dict[str, Any]) -> StateEvidence:
    """Read a receipt's evidence.

    Raises:
        VerificationError: malformed evidence is wrong evidence.
    """
    try:
        return StateEvidence.from_json(value, what="Ethereum evidence")
    except FormatError as error:
        raise VerificationError(error.message) from error


def verify_state_evidence(evidence: StateEvidence, root: bytes) -> ProvenRecord:
    """Recompute everything that follows from the evidence's header.

    Args:
        evidence: Parsed, otherwise unchecked. The caller compares contract and submitter.
        root: The commitment's 32 bytes.

    Raises:
        VerificationError: something in the evidence is wrong.
    """
    # 1. Number and hash are the header's.
    header = proven_header(evidence.header, evidence.block_number, evidence.block_hash)
    state.require_addresses(evidence.contract, evidence.submitter)
    # 2. The account has the contract's code.
    storage_root = state.verify_contract(header, evidence.contract, evidence.account_proof)
    # 3. Its storage keeps the submitter's record, which is not younger than the block.
    first = state.verify_submission(storage_root, evidence.submitter, root, evidence.storage_proof)
    state.check_times(first, header)
    return ProvenRecord(header, evidence.contract, evidence.submitter, first)
