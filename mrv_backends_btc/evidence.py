# SPDX-License-Identifier: MIT
"""Evidence of an anchor: the transaction, its way to a block header, and that header (docs/networks/bitcoin.md).

Everything in it is recomputed. What is left is whether the block is in the chain, which a node says, or how much work
its header has cost, which anyone can compare with what forging one is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from mrv_backends_btc.chains import Chain
from mrv_backends_btc.header import Header, parse_header
from mrv_backends_btc.merkle import MAX_DEPTH, MerkleBlock, root_from_branch
from mrv_backends_btc.payload import commitments_in
from mrv_backends_btc.transaction import MAX_TRANSACTION_BYTES, Transaction, parse_transaction
from mrv_core.errors import FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Model

FORMAT: Final = "mrv-evidence-bitcoin/1"

HashText = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HeaderText = Annotated[str, Field(pattern=r"^[0-9a-f]{160}$")]
TransactionText = Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$", max_length=2 * MAX_TRANSACTION_BYTES)]
BranchField = Annotated[tuple[HashText, ...], Field(max_length=MAX_DEPTH)]
IndexField = Annotated[int, Field(ge=0, lt=2**32)]


class BitcoinEvidence(Model):
    """`mrv-evidence-bitcoin/1`.

    Attributes:
        format: Version of this format.
        transaction: The transaction without witness, hexadecimal.
        output_index: Zero-based index of its output that holds the commitment.
        transaction_index: Zero-based place of the transaction in its block.
        merkle_branch: Siblings from the transaction up to the root, internal byte order.
        coinbase: The block's first transaction without witness. It states the height, and that its branch is as long
            as the transaction's shows that the transaction is no inner node of the tree.
        coinbase_branch: Its siblings up to the root.
        header: The block's header.
        block_hash: The header's hash, as explorers show it.
        height: Zero-based height of the block.
    """

    format: Literal["mrv-evidence-bitcoin/1"]
    transaction: TransactionText
    output_index: IndexField
    transaction_index: IndexField
    merkle_branch: BranchField
    coinbase: TransactionText
    coinbase_branch: BranchField
    header: HeaderText
    block_hash: HashText
    height: Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, slots=True)
class CheckedAnchor:
    """What evidence shows by itself.

    Attributes:
        transaction: The transaction.
        commitment: What it commits to.
        output_index: In which output.
        index: Its place in the block.
        branch: Its siblings up to the root.
        header: The block's header, with the work that it claims.
        height: The block's height.
    """

    transaction: Transaction
    commitment: Digest
    output_index: int
    index: int
    branch: tuple[bytes, ...]
    header: Header
    height: int


def make_evidence(block: MerkleBlock, height: int, transaction: Transaction, coinbase: Transaction) -> BitcoinEvidence:
    """Build evidence from what a node gave; `check_evidence` says whether it holds.

    Args:
        block: Proof of both transactions.
        height: Height that the node gives.
        transaction: The transaction of the anchor.
        coinbase: The block's first transaction.

    Raises:
        VerificationError: the proof does not show both, or the transaction has no commitment.
    """
    found = commitments_in(transaction)
    if not found:
        raise VerificationError(f"transaction {transaction.txid_hex} has no commitment of ours")
    match = block.match(transaction.txid)
    return BitcoinEvidence(
        format="mrv-evidence-bitcoin/1",
        transaction=transaction.stripped.hex(),
        output_index=found[0][0],
        transaction_index=match.index,
        merkle_branch=tuple(sibling.hex() for sibling in match.branch),
        coinbase=coinbase.stripped.hex(),
        coinbase_branch=tuple(sibling.hex() for sibling in block.match(coinbase.txid).branch),
        header=block.header.data.hex(),
        block_hash=block.header.hash_hex,
        height=height,
    )


def check_evidence(evidence: dict[str, Any], reference: str, commitment: Digest, chain: Chain | None) -> CheckedAnchor:
    """Recompute everything that evidence claims, without any node.

    1. The transaction has the receipt's id, and the named output is exactly the script for the commitment.
    2. Its branch and the coinbase's, equally long, lead to the Merkle root of the header.
    3. The header hashes to the block's hash, and the hash meets the header's target, which the chain allows.
    4. The coinbase states the height (BIP 34), as it must in every block that is not older than this project.

    How much the header has cost is not judged here: compare `header.work` with a floor, or ask a node for the block.

    Args:
        evidence: The receipt's.
        reference: Transaction id as explorers show it.
        commitment: What it has to commit to.
        chain: The chain that the receipt claims, where it is a known one.

    Raises:
        VerificationError: anything malformed or wrong.
    """
    try:
        return _check(BitcoinEvidence.from_json(evidence, what="evidence"), reference, commitment, chain)
    except FormatError as error:
        raise VerificationError(f"malformed evidence: {error.message}") from error


def _check(evidence: BitcoinEvidence, reference: str, commitment: Digest, chain: Chain | None) -> CheckedAnchor:
    transaction = _stripped(evidence.transaction, "transaction")
    header = parse_header(bytes.fromhex(evidence.header))
    branch, coinbase_branch = _branch(evidence.merkle_branch), _branch(evidence.coinbase_branch)
    if transaction.txid_hex != reference:
        raise VerificationError(f"the evidence holds transaction {transaction.txid_hex}, not {reference[:80]!r}")
    if dict(commitments_in(transaction)).get(evidence.output_index) != commitment:
        raise VerificationError(f"output {evidence.output_index} of transaction {reference} is not for {commitment}")
    if (
        transaction.is_coinbase
        or root_from_branch(transaction.txid, evidence.transaction_index, branch) != header.merkle_root
    ):
        raise VerificationError(f"transaction {reference} is not in the block of the evidence")
    _check_coinbase(evidence, coinbase_branch, header)
    if len(coinbase_branch) != len(branch):
        raise VerificationError("the Merkle branches of one block have different lengths")
    if header.hash_hex != evidence.block_hash:
        raise VerificationError(f"the header of the evidence has the hash {header.hash_hex}, not {evidence.block_hash}")
    header.check_work(easiest_bits=None if chain is None else chain.easiest_bits)
    return CheckedAnchor(
        transaction, commitment, evidence.output_index, evidence.transaction_index, branch, header, evidence.height
    )


def _check_coinbase(evidence: BitcoinEvidence, branch: Sequence[bytes], header: Header) -> None:
    coinbase = _stripped(evidence.coinbase, "coinbase")
    if not coinbase.is_coinbase or root_from_branch(coinbase.txid, 0, branch) != header.merkle_root:
        raise VerificationError("the coinbase of the evidence is not the first transaction of its block")
    if not coinbase.inputs[0].script.startswith(height_push(evidence.height)):
        raise VerificationError(f"the block of the evidence is not at height {evidence.height}")


def height_push(height: int) -> bytes:
    """Return the bytes with which a coinbase's script pushes its height (BIP 34)."""
    if height <= 16:
        return bytes([0x50 + height if height else 0])
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")  # signed, so the highest bit stays clear
    return bytes([len(number)]) + number


def _stripped(text: str, what: str) -> Transaction:
    transaction = parse_transaction(bytes.fromhex(text), what=what)
    if transaction.has_witness:
        raise FormatError(f"{what}: a witness does not belong there")
    return transaction


def _branch(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(text) for text in texts)
