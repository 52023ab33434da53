# SPDX-License-Identifier: MIT
"""Anchoring in the data of a transaction to oneself, without a contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrv_backends_eth.calldata_evidence import (
    CalldataEvidence,
    ProvenTransaction,
    decode_payload,
    encode_payload,
    verify_calldata_evidence,
)
from mrv_backends_eth.contract_form import require_canonical
from mrv_backends_eth.finality import Finality, Tip
from mrv_backends_eth.form import Anchored
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Block, Call, Node, Position, SeenReceipt, SeenTransaction
from mrv_backends_eth.transactions import Transaction, encode_transaction
from mrv_backends_eth.trie_build import ListTrie
from mrv_core.errors import BackendUnavailableError, FormatError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer


class CalldataForm:
    """A transaction of its sender to itself, whose data are a tag and the commitment. Metadata are not sent."""

    @property
    def name(self) -> str:
        """See `Form`."""
        return "calldata"

    def target(self, sender: bytes) -> bytes:
        """Return the sender. See `Form`."""
        return sender

    def payload(self, writer: Writer, commitment: Digest, metadata: Metadata) -> bytes:
        """Return tag and commitment. See `Form`."""
        return encode_payload(commitment)

    def commitment(self, transaction: Transaction) -> Digest | None:
        """Return what the data say, where the sender is the receiver. See `Form`."""
        commitment = decode_payload(transaction)
        try:
            return commitment if commitment is not None and transaction.sender() == transaction.to else None
        except VerificationError:
            return None

    def usability_calls(self, *, with_proof: bool) -> list[Call]:
        """There is nothing to ask: data need nobody who reads them. See `Form`."""
        return []

    def check_usability(self, node: Node, answers: Sequence[Any]) -> None:
        """There is nothing to check. See `Form`."""

    def collect(
        self, node: Node, seen: SeenTransaction, receipt: SeenReceipt | None, commitment: Digest, tip: Tip
    ) -> Anchored:
        """Build the trie of the block's transactions anew, and prove the transaction in it. See `Form`."""
        position = seen.position
        if position is None:
            raise BackendUnavailableError(f"{node.name} does not say where the transaction is", retryable=True)
        (answer,) = node.ask(("eth_getBlockByNumber", [hex(position.number), True]))
        block = node.block(answer, position.number)
        if block is None or block.header.hash != position.block_hash:
            raise BackendUnavailableError(
                f"{node.name}: block {position.number} of the transaction is not in its chain",
                hint="the chain is being reorganised; ask again",
                retryable=True,
            )
        evidence = self._evidence(node, block, position)
        with node.understood():
            proven = verify_calldata_evidence(evidence)
            _compare(proven, seen.transaction.hash, node.chain_id())
        return _anchored(proven, evidence.to_json())

    def check(self, node: Node, finality: Finality, transaction_hash: bytes, receipt: Receipt) -> tuple[Anchored, Tip]:
        """Recompute the anchor, then ask for the block. See `Form`."""
        proven = verify_calldata_evidence(CalldataEvidence.read(receipt.evidence))
        _compare(proven, transaction_hash, node.chain_id())
        if proven.commitment != receipt.commitment:
            raise VerificationError(f"{receipt.reference} anchors {proven.commitment}, not {receipt.commitment}")
        block, *ends = node.ask(("eth_getBlockByNumber", [hex(proven.header.number), False]), *finality.calls)
        tip = finality.read(node, ends)
        require_canonical(node, node.block(block, proven.header.number), proven.header)
        return _anchored(proven, receipt.evidence), tip

    def _evidence(self, node: Node, block: Block, position: Position) -> CalldataEvidence:
        raw = _raw_transactions(node, block)
        built = ListTrie.build(raw)
        if built.root != block.header.transactions_root or position.index >= len(raw):
            raise BackendUnavailableError(
                f"the transactions of block {position.number} that {node.name} shows are not those of its header",
                hint='this chain keeps more in its blocks than transactions; set "mode": "contract" for this network',
            )
        with node.understood():
            return CalldataEvidence(
                block_number=block.header.number,
                block_hash=block.header.hash,
                header=block.raw,
                transaction_index=position.index,
                transaction_proof=tuple(built.prove(position.index)),
            )


def _raw_transactions(node: Node, block: Block) -> list[bytes]:
    """Return the bytes of a block's transactions; those of unknown types are asked for one by one."""
    found: dict[int, bytes] = {}
    for index, value in enumerate(block.transactions):
        try:
            found[index] = encode_transaction(value)
        except FormatError:
            continue
    missing = [index for index in range(len(block.transactions)) if index not in found]
    answers = (
        node.ask(
            *(
                ("eth_getRawTransactionByBlockHashAndIndex", [to_hex(block.header.hash), hex(index)])
                for index in missing
            )
        )
        if missing
        else []
    )
    found.update((index, node.data(answer, "raw transaction")) for index, answer in zip(missing, answers, strict=True))
    return [found[index] for index in range(len(block.transactions))]


def _compare(proven: ProvenTransaction, transaction_hash: bytes, chain_id: int) -> None:
    if proven.transaction.hash != transaction_hash:
        raise VerificationError(
            f"the evidence is about the transaction {to_hex(proven.transaction.hash)}, not {to_hex(transaction_hash)}"
        )
    if proven.transaction.chain_id != chain_id:
        raise VerificationError(f"the transaction is bound to chain {proven.transaction.chain_id}, not to {chain_id}")


def _anchored(proven: ProvenTransaction, evidence: dict[str, Any]) -> Anchored:
    header = proven.header
    return Anchored(
        commitment=proven.commitment,
        submitter=proven.submitter,
        number=header.number,
        proven_in=header.number,
        recorded_in=header.number,
        block_time=header.timestamp,
        evidence=evidence,
        facts={},
    )
