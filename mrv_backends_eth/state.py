# SPDX-License-Identifier: MIT
"""What a block's state says about the contract, shown by account and storage proofs (EIP-1186)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import rlp, trie
from mrv_backends_eth.headers import Header
from mrv_backends_eth.keccak import keccak256
from mrv_core.errors import VerificationError


def verify_contract(
    header: Header,
    contract: bytes,
    proof: Sequence[bytes],
    code_hashes: Collection[bytes] = mlprovenance.CODE_HASHES,
    name: str = "MLProvenance",
) -> bytes:
    """Check that an address has a contract's code at a block, and return its storage root, 32 bytes.

    Args:
        header: The block.
        contract: The address, 20 bytes.
        proof: Nodes from the header's state root to the account.
        code_hashes: Of the contract's versions.
        name: The contract's, for messages.

    Raises:
        VerificationError: it has not, or the proof is wrong.
    """
    value = trie.verify(header.state_root, keccak256(contract), proof)
    if value is None:
        raise VerificationError("the contract is not in the block")
    _, _, storage_root, code_hash = rlp.decode_list(value, what="account", length=4)
    if rlp.as_bytes(code_hash, what="code hash") not in code_hashes:
        raise VerificationError(f"the code at the contract's address is not that of {name}")
    return rlp.as_bytes(storage_root, what="storage root", size=32)


def verify_submission(
    storage_root: bytes, submitter: bytes, root: bytes, proof: Sequence[bytes]
) -> mlprovenance.Submission:
    """Check that the contract's storage keeps a record of a submitter and a root, and return it.

    Raises:
        VerificationError: it keeps none, or the proof is wrong.
    """
    return mlprovenance.decode_submission(
        verify_word(storage_root, mlprovenance.submission_slot(submitter, root), proof)
    )


def verify_word(storage_root: bytes, slot: bytes, proof: Sequence[bytes]) -> int:
    """Check that a word of storage is not zero, and return it.

    Raises:
        VerificationError: it is zero, or the proof is wrong.
    """
    value = trie.verify(storage_root, keccak256(slot), proof)
    if value is None:
        raise VerificationError("the record is not in the block")
    return rlp.as_int(rlp.decode(value), what="record")


def check_times(first: mlprovenance.Submission, header: Header) -> None:
    """Check that a record is not younger than the block in whose state it is.

    Raises:
        VerificationError: it is, or block and record differ in the time of one block.
    """
    if first.block_number > header.number or first.timestamp > header.timestamp:
        raise VerificationError("the contract's record is younger than the block it is in")
    if first.block_number == header.number and first.timestamp != header.timestamp:
        raise VerificationError("the contract's record and the header differ in the block's time")
