# SPDX-License-Identifier: MIT
"""Evidence that the state of a real chain keeps a record of a commitment, checked with nothing but hashing.

Given a block header, two trie proofs (EIP-1186) show that the account at an address has our contract's code, and that
its storage says when a submitter first stated a commitment. They do not show that the header belongs to the chain,
nor the transaction that made the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import state
from mrv_backends_eth.block_evidence import ContractEvidence
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import Proof

STATE_FORMAT: Final = "mrv-evidence-ethereum-state/1"


class StateEvidence(ContractEvidence):
    """Everything needed to recompute a record of MLProvenance from a block hash.

    The block is that of the transaction, or a later one.

    Attributes:
        format: Version of this format.
        storage_proof: Nodes from the account's storage root to the submitter's record.
    """

    format: Literal["mrv-evidence-ethereum-state/1"] = STATE_FORMAT
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


def verify_state_evidence(evidence: StateEvidence, root: bytes) -> ProvenRecord:
    """Recompute everything that follows from the evidence's header.

    Args:
        evidence: Parsed, otherwise unchecked. The caller compares contract and submitter.
        root: The commitment's 32 bytes.

    Raises:
        VerificationError: something in the evidence is wrong.
    """
    # 1. Number and hash are the header's.
    header = evidence.proven_header()
    evidence.require_addresses()
    # 2. The account has the contract's code.
    storage_root = state.verify_contract(header, evidence.contract, evidence.account_proof)
    # 3. Its storage keeps the submitter's record, which is not younger than the block.
    first = state.verify_submission(storage_root, evidence.submitter, root, evidence.storage_proof)
    state.check_times(first, header)
    return ProvenRecord(header, evidence.contract, evidence.submitter, first)
