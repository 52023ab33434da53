# SPDX-License-Identifier: MIT
"""Evidence that MRVRegistry keeps the hash of a record under an MRV id, checked with nothing but hashing.

As `state_evidence`, with other words of storage: the hash, its time, and who registered the id first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from mrv_backends_eth import registry_contract as registry
from mrv_backends_eth import state, values
from mrv_backends_eth.block_evidence import ContractEvidence
from mrv_backends_eth.contract import decode_submission
from mrv_backends_eth.hexadecimal import Proof
from mrv_backends_eth.state_evidence import ProvenRecord
from mrv_core.canonical import MAX_SAFE_INTEGER
from mrv_core.errors import VerificationError
from mrv_core.mrv.record import is_mrv_id

REGISTRY_FORMAT: Final = "mrv-evidence-ethereum-registry/1"


class RegistryEvidence(ContractEvidence):
    """Everything needed to recompute a record of MRVRegistry from a block hash.

    The block is that of the transaction, or a later one.

    Attributes:
        format: Version of this format.
        mrv_id: The id under which it did.
        hash_proof: Nodes from the account's storage root to the hash.
        time_proof: Nodes from there to time and block of the registration.
        id_proof: Nodes from there to who registered the id first, and how many have.
    """

    format: Literal["mrv-evidence-ethereum-registry/1"] = REGISTRY_FORMAT
    mrv_id: str
    hash_proof: Proof
    time_proof: Proof
    id_proof: Proof


@dataclass(frozen=True, slots=True)
class ProvenRegistration(ProvenRecord):
    """What the evidence proves, given its header.

    Attributes:
        mrv_id: The id.
        entry: Who registered it first, and how many had at that block.
    """

    mrv_id: str
    entry: registry.IdEntry

    def is_of(self, text: str) -> bool:
        """Tell whether this is the id under which the hash is kept."""
        return text == self.mrv_id

    def facts(self) -> dict[str, Any]:
        """Return who was the first to register the id: another than the submitter may have squatted it."""
        return {
            "mrv_id": self.mrv_id,
            "first_submitter": values.address_text(self.entry.first_submitter),
            "submitters": self.entry.submitters,
        }


def verify_registry_evidence(evidence: RegistryEvidence, value: bytes) -> ProvenRegistration:
    """Recompute everything that follows from the evidence's header.

    Args:
        evidence: Parsed, otherwise unchecked. The caller compares contract, submitter and id.
        value: The record's hash, 32 bytes.

    Raises:
        VerificationError: something in the evidence is wrong.
    """
    # 1. Number and hash are the header's, the account has the contract's code.
    header = evidence.proven_header()
    evidence.require_addresses()
    if not is_mrv_id(evidence.mrv_id):
        raise VerificationError("the evidence names an id that MRVRegistry does not take")
    storage_root = state.verify_contract(
        header, evidence.contract, evidence.account_proof, registry.CODE_HASHES, "MRVRegistry"
    )
    # 2. Its storage keeps this hash for submitter and id, and a time that is not younger than the block.
    key = registry.key_of(evidence.mrv_id)
    held = state.verify_word(storage_root, registry.record_slot(evidence.submitter, key), evidence.hash_proof)
    if held.to_bytes(32, "big") != value:
        raise VerificationError(f"what is registered as {evidence.mrv_id} is sha256:{held:064x}")
    time = state.verify_word(storage_root, registry.time_slot(evidence.submitter, key), evidence.time_proof)
    first = decode_submission(time)
    state.check_times(first, header)
    # 3. It says who was first to register the id.
    entry = registry.decode_id_entry(state.verify_word(storage_root, registry.id_slot(key), evidence.id_proof))
    if not 0 < entry.submitters <= MAX_SAFE_INTEGER:
        raise VerificationError(f"the registry counts {entry.submitters} submitters of {evidence.mrv_id}")
    return ProvenRegistration(header, evidence.contract, evidence.submitter, first, evidence.mrv_id, entry)
