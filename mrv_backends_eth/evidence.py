# SPDX-License-Identifier: MIT
"""Evidence that a contract recorded a commitment, and checking it with nothing but hashing.

Given a block header, four trie proofs show that the account at an address has our contract's code, that a
transaction is in the block, that it succeeded and stated the commitment, and that the contract's storage keeps it.
They cannot show that the header belongs to the chain; that is for the caller to ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import rlp, state, trie
from mrv_backends_eth.block_evidence import ContractEvidence
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import Proof, to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest


class EthereumEvidence(ContractEvidence):
    """Everything needed to recompute an anchor from a block hash.

    Attributes:
        format: Version of this format.
        transaction_index: Zero-based position of the transaction in the block.
        transaction_proof: Nodes from the header's transactions root to the transaction.
        receipt_proof: Nodes from the header's receipts root to the transaction's receipt.
        storage_proof: Nodes from the account's storage root to the submitter's record (EIP-1186).
    """

    format: Literal["mrv-evidence-ethereum/1"] = "mrv-evidence-ethereum/1"
    transaction_index: int = Field(ge=0, lt=2**32)
    transaction_proof: Proof
    receipt_proof: Proof
    storage_proof: Proof


@dataclass(frozen=True, slots=True)
class ProvenAnchor:
    """What evidence proves, given its header.

    Attributes:
        header: The block of the transaction.
        transaction_hash: Keccak-256 of the transaction, 32 bytes.
        commitment: What the submitter stated in it.
        label: What the submitter said about the commitment in it.
        first: When this submitter first stated this commitment: in this block, or in an earlier one.
    """

    header: Header
    transaction_hash: bytes
    commitment: Digest
    label: str
    first: mlprovenance.Submission


def verify_evidence(evidence: EthereumEvidence, contract: bytes) -> ProvenAnchor:
    """Recompute everything that follows from the evidence's header.

    Args:
        evidence: Parsed, otherwise unchecked.
        contract: Address the contract must have, 20 bytes; never taken from the evidence.

    Raises:
        VerificationError: something in the evidence is wrong.
    """
    # 1. Number and hash are the header's.
    header = evidence.proven_header()
    # 2. The account at the expected address has the expected code.
    _compare("contract", evidence.contract, contract)
    storage_root = state.verify_contract(header, contract, evidence.account_proof)
    # 3. The transaction is in the block, and the event in its receipt.
    key = rlp.encode_int(evidence.transaction_index)
    transaction = _present("transaction", trie.verify(header.transactions_root, key, evidence.transaction_proof))
    receipt = _present("receipt", trie.verify(header.receipts_root, key, evidence.receipt_proof))
    event = mlprovenance.find_submission(receipt, contract)
    if event is None:
        raise VerificationError("the transaction failed, or did not make the contract record anything")
    _compare("submitter", evidence.submitter, event.submitter)
    # 4. The contract's storage keeps the submitter's record, and it is not younger than the block.
    first = state.verify_submission(storage_root, event.submitter, event.root, evidence.storage_proof)
    state.check_times(first, header)
    return ProvenAnchor(header, keccak256(transaction), event.commitment, event.label, first)


def _present(what: str, value: bytes | None) -> bytes:
    if value is None:
        raise VerificationError(f"the {what} is not in the block")
    return value


def _compare(what: str, claimed: bytes, expected: bytes) -> None:
    if claimed != expected:
        raise VerificationError(f"{what} in the evidence is {to_hex(claimed)}, not {to_hex(expected)}")
