# SPDX-License-Identifier: MIT
"""Evidence that a contract recorded a commitment, and checking it with nothing but hashing.

Given a block header, four trie proofs show that the account at an address has our contract's code, that a
transaction is in the block, that it succeeded and stated the commitment, and that the contract's storage keeps it.
They cannot show that the header belongs to the chain; that is for the caller to ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import rlp, trie
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Model

_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31, the last day `datetime` knows
_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")


def to_hex(data: bytes) -> str:
    """Write bytes as Ethereum does: `0x` and lower-case digits."""
    return "0x" + data.hex()


def _parse_hex(value: object) -> object:
    if isinstance(value, str):
        if not _HEX.fullmatch(value):
            raise ValueError("not 0x and lower-case hexadecimal digits")
        return bytes.fromhex(value[2:])
    return value


Hex = Annotated[bytes, BeforeValidator(_parse_hex), PlainSerializer(to_hex, return_type=str)]
Proof = Annotated[tuple[Hex, ...], Field(max_length=64)]  # a trie is at most 64 nibbles deep


class EthereumEvidence(Model):
    """Everything needed to recompute an anchor from a block hash.

    Attributes:
        format: Version of this format.
        block_number, block_hash: The block; both are recomputed from `header`.
        header: The block header in RLP.
        contract: Address of the MLProvenance contract, 20 bytes.
        submitter: Address that stated the commitment, 20 bytes.
        transaction_index: Zero-based position of the transaction in the block.
        transaction_proof: Nodes from the header's transactions root to the transaction.
        receipt_proof: Nodes from the header's receipts root to the transaction's receipt.
        account_proof: Nodes from the header's state root to the contract's account (EIP-1186).
        storage_proof: Nodes from the account's storage root to the submitter's record (EIP-1186).
    """

    format: Literal["mrv-evidence-ethereum/1"] = "mrv-evidence-ethereum/1"
    block_number: int = Field(ge=0, lt=2**53)
    block_hash: Hex
    header: Hex
    contract: Hex
    submitter: Hex
    transaction_index: int = Field(ge=0, lt=2**32)
    transaction_proof: Proof
    receipt_proof: Proof
    account_proof: Proof
    storage_proof: Proof


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a block header that evidence builds on.

    Attributes:
        hash: Keccak-256 of its RLP.
        state_root, transactions_root, receipts_root: Roots of the block's three tries.
        number: Block number.
        timestamp: Block time, seconds since 1970.
    """

    hash: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    number: int
    timestamp: int

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read a header of any fork since Frontier: later forks only append fields.

        Raises:
            VerificationError: not a block header.
        """
        fields = rlp.decode_list(data, what="block header")
        if len(fields) < 15:
            raise VerificationError(f"block header has {len(fields)} fields, fewer than Ethereum ever had")
        state, transactions, receipts = (rlp.as_bytes(field, what="root", size=32) for field in fields[3:6])
        timestamp = rlp.as_int(fields[11], what="block time")
        if timestamp > _LAST_SECOND:
            raise VerificationError("block time is beyond the year 9999")
        return cls(keccak256(data), state, transactions, receipts, rlp.as_int(fields[8], what="number"), timestamp)


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


def parse_evidence(value: dict[str, Any]) -> EthereumEvidence:
    """Read a receipt's evidence.

    Raises:
        VerificationError: malformed evidence is wrong evidence.
    """
    try:
        return EthereumEvidence.from_json(value, what="Ethereum evidence")
    except FormatError as error:
        raise VerificationError(error.message) from error


def verify_evidence(evidence: EthereumEvidence, contract: bytes) -> ProvenAnchor:
    """Recompute everything that follows from the evidence's header.

    Args:
        evidence: Parsed, otherwise unchecked.
        contract: Address the contract must have, 20 bytes; never taken from the evidence.

    Raises:
        VerificationError: something in the evidence is wrong.
    """
    # 1. Number and hash are the header's.
    header = Header.parse(evidence.header)
    _compare("block hash", evidence.block_hash, header.hash)
    if evidence.block_number != header.number:
        raise VerificationError(f"evidence names block {evidence.block_number}, its header is of block {header.number}")
    # 2. The account at the expected address has the expected code.
    _compare("contract", evidence.contract, contract)
    storage_root = _verify_account(header, contract, evidence)
    # 3. The transaction is in the block, and the event in its receipt.
    key = rlp.encode_int(evidence.transaction_index)
    transaction = _present("transaction", trie.verify(header.transactions_root, key, evidence.transaction_proof))
    receipt = _present("receipt", trie.verify(header.receipts_root, key, evidence.receipt_proof))
    event = mlprovenance.find_submission(receipt, contract)
    if event is None:
        raise VerificationError("the transaction failed, or did not make the contract record anything")
    _compare("submitter", evidence.submitter, event.submitter)
    # 4. The contract's storage keeps the submitter's record, and it is not younger than the block.
    first = _verify_storage(storage_root, event, evidence)
    _check_times(first, header)
    return ProvenAnchor(header, keccak256(transaction), event.commitment, event.label, first)


def _verify_account(header: Header, contract: bytes, evidence: EthereumEvidence) -> bytes:
    value = _present("contract", trie.verify(header.state_root, keccak256(contract), evidence.account_proof))
    _, _, storage_root, code_hash = rlp.decode_list(value, what="account", length=4)
    _compare("contract code", rlp.as_bytes(code_hash, what="code hash"), mlprovenance.code_hash())
    return rlp.as_bytes(storage_root, what="storage root", size=32)


def _verify_storage(
    root: bytes, event: mlprovenance.HashSubmitted, evidence: EthereumEvidence
) -> mlprovenance.Submission:
    slot = mlprovenance.submission_slot(event.submitter, event.root)
    value = _present("record", trie.verify(root, keccak256(slot), evidence.storage_proof))
    return mlprovenance.decode_submission(rlp.as_int(rlp.decode(value), what="record"))


def _check_times(first: mlprovenance.Submission, header: Header) -> None:
    same_block = first.block_number == header.number
    if first.block_number > header.number or first.timestamp > header.timestamp:
        raise VerificationError("the contract's record is younger than the block it is in")
    if same_block and first.timestamp != header.timestamp:
        raise VerificationError("the contract's record and the header differ in the block's time")


def _present(what: str, value: bytes | None) -> bytes:
    if value is None:
        raise VerificationError(f"the {what} is not in the block")
    return value


def _compare(what: str, claimed: bytes, expected: bytes) -> None:
    if claimed != expected:
        raise VerificationError(f"{what} in the evidence is {to_hex(claimed)}, not {to_hex(expected)}")
