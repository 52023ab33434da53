# SPDX-License-Identifier: MIT
"""Anchoring in the MLProvenance contract of a real chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import values
from mrv_backends_eth.contract_queries import ContractQueries
from mrv_backends_eth.finality import Finality, Tip
from mrv_backends_eth.form import Anchored, FailedTransactionError
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Block, Call, Node, Position, SeenReceipt, SeenTransaction
from mrv_backends_eth.state_evidence import (
    ProvenRecord,
    parse_state_evidence,
    verify_state_evidence,
)
from mrv_backends_eth.transactions import Transaction
from mrv_core.errors import AnchorNotFoundError, BackendUnavailableError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt
from mrv_core.transport import RpcError

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer

_NO_KEY = bytes(32)


class ContractForm:
    """A call of `storeHash`, and the record that the contract keeps.

    Args:
        address: The contract, 20 bytes; None where the settings do not name it.
        network: Configured name of the network, for messages.
    """

    searches = True

    def __init__(self, address: bytes | None, network: str) -> None:
        self.queries = ContractQueries(address, network)

    @property
    def address(self) -> bytes:
        """Address of the contract, 20 bytes.

        Raises:
            ConfigurationError: the settings do not name it.
        """
        return self.queries.address

    def target(self, sender: bytes) -> bytes:
        """Return the contract. See `Form`."""
        return self.address

    def payload(self, writer: Writer, commitment: Digest, metadata: Metadata) -> bytes:
        """Return the data of the call. See `Form`."""
        return writer.store_hash(commitment.value, mlprovenance.label(commitment, metadata))

    def commitment(self, transaction: Transaction) -> Digest | None:
        """Return what a call states. See `Form`."""
        decoded = mlprovenance.decode_store_hash(transaction.input)
        if decoded is None or not self.queries.is_at(transaction.to):
            return None
        return mlprovenance.commitment_of(*decoded)

    def usability_calls(self, *, with_proof: bool) -> list[Call]:
        """Ask for the code, and for some proof. See `Form`."""
        return self.queries.usability_calls(with_proof=with_proof)

    def check_usability(self, node: Node, answers: Sequence[Any]) -> None:
        """Compare the code. See `Form`."""
        self.queries.check_usability(node, answers)

    def collect(
        self, node: Node, seen: SeenTransaction, receipt: SeenReceipt | None, commitment: Digest, tip: Tip
    ) -> Anchored:
        """Collect the account and storage proof at the transaction's block, or a later one. See `Form`."""
        position, receipt = _included(node, seen, receipt)
        event = self.queries.event_in(receipt)
        submitter = event.submitter if event is not None else bytes(20)
        block_answer, proof = node.ask(
            *self.queries.block_and_proof_calls(submitter, commitment.value, position.number)
        )
        block = _same(node, node.block(block_answer, position.number), position)
        if not receipt.succeeded or event is None or event.commitment != commitment:
            why = _why_failed(seen.transaction, receipt)
            raise FailedTransactionError(seen.transaction, commitment, position.number, why)
        if isinstance(proof, RpcError):  # the node does not keep the state of old blocks
            number = max(tip.final, position.number + 1)
            later, proof = node.ask(*self.queries.block_and_proof_calls(submitter, commitment.value, number))
            shown = node.block(later, number)
        else:
            shown = block
        evidence = self.queries.evidence(node, shown, submitter, proof)
        with node.understood():
            proven = verify_state_evidence(evidence, commitment.value)
            self._check_earlier(node, proven, commitment, block.header)
        return self._anchored(seen.transaction, commitment, proven, block.header, evidence.to_json())

    def check(self, node: Node, finality: Finality, transaction_hash: bytes, receipt: Receipt) -> tuple[Anchored, Tip]:
        """Recompute the record, then ask for the block and the transaction. See `Form`."""
        evidence = parse_state_evidence(receipt.evidence)
        if evidence.contract != self.address:
            raise VerificationError(
                f"the evidence is about the contract {values.address_text(evidence.contract)}, "
                f"not about {values.address_text(self.address)}"
            )
        proven = verify_state_evidence(evidence, receipt.commitment.value)
        transaction, receipt_answer, block, *ends = node.ask(
            ("eth_getTransactionByHash", [to_hex(transaction_hash)]),
            ("eth_getTransactionReceipt", [to_hex(transaction_hash)]),
            ("eth_getBlockByNumber", [hex(proven.header.number), False]),
            *finality.calls,
        )
        tip = finality.read(node, ends)
        require_canonical(node, node.block(block, proven.header.number), proven.header)
        seen = node.transaction(transaction, transaction_hash)
        if seen is None or seen.position is None:
            raise AnchorNotFoundError(
                f"{node.name} has no transaction {receipt.reference} in its chain",
                hint="a node that keeps no index of old transactions cannot find it; ask one that does",
            )
        if self.commitment(seen.transaction) != receipt.commitment:
            raise VerificationError(f"{receipt.reference} does not anchor {receipt.commitment}")
        position, done = _included(node, seen, node.receipt(receipt_answer, transaction_hash))
        self._check_event(done, receipt, proven)
        header = self._block_of(node, position, proven.header)
        self._check_earlier(node, proven, receipt.commitment, header)
        return self._anchored(seen.transaction, receipt.commitment, proven, header, receipt.evidence), tip

    def _block_of(self, node: Node, position: Position, shown: Header) -> Header:
        """Return the header of a transaction's block, which the evidence must not be older than."""
        if (position.number, position.block_hash) == (shown.number, shown.hash):
            return shown
        (answer,) = node.ask(("eth_getBlockByNumber", [hex(position.number), False]))
        header = _same(node, node.block(answer, position.number), position).header
        if header.number == shown.number:
            raise _reorganised(node, shown.number)
        if header.number > shown.number:
            raise VerificationError(
                f"the evidence is of block {shown.number}, before the transaction's {header.number}"
            )
        return header

    def _check_event(self, done: SeenReceipt, receipt: Receipt, proven: ProvenRecord) -> None:
        event = self.queries.event_in(done) if done.succeeded else None
        if event is None or event.commitment != receipt.commitment:
            raise VerificationError(f"the transaction {receipt.reference} failed, or made the contract record nothing")
        if event.submitter != proven.submitter:
            raise VerificationError(
                f"{receipt.reference} was sent by {values.address_text(event.submitter)}, "
                f"the evidence is about {values.address_text(proven.submitter)}"
            )

    def _check_earlier(self, node: Node, proven: ProvenRecord, commitment: Digest, header: Header) -> None:
        """Check the record's time against the chain: whoever deploys the contract's code can fill in its storage.

        Raises:
            VerificationError: the block that it names does not confirm it.
        """
        first = proven.first
        if first.block_number > header.number:
            raise VerificationError("the contract's record is younger than the transaction")
        if first.block_number == header.number:
            earlier, stated = header, True
        else:
            block, logs = node.ask(
                ("eth_getBlockByNumber", [hex(first.block_number), False]),
                self.queries.events_call(proven.submitter, commitment.value, first.block_number),
            )
            found = node.block(block, first.block_number)
            if found is None:
                raise BackendUnavailableError(f"{node.name} has no block {first.block_number}", retryable=True)
            earlier = found.header
            stated = bool(self.queries.read_events(node, logs, proven.submitter, commitment.value))
        if not stated or earlier.timestamp != first.timestamp:
            raise VerificationError(
                f"the contract dates the record to block {first.block_number}, which does not confirm it",
                hint="the contract was not deployed as this project does it; its records are not to be trusted",
            )

    def _anchored(
        self,
        transaction: Transaction,
        commitment: Digest,
        proven: ProvenRecord,
        header: Header,
        evidence: dict[str, Any],
    ) -> Anchored:
        _, text = mlprovenance.decode_store_hash(transaction.input) or (b"", "")
        facts: dict[str, Any] = {"contract": values.address_text(self.address), "metadata": text}
        if proven.first.block_number != header.number:
            facts["first_block"] = proven.first.block_number
        return Anchored(
            commitment=commitment,
            submitter=proven.submitter,
            number=header.number,
            proven_in=proven.header.number,
            recorded_in=proven.first.block_number,
            block_time=proven.first.timestamp,
            evidence=evidence,
            facts=facts,
        )


def require_canonical(node: Node, block: Block | None, header: Header) -> None:
    """Check that a node has a block in its chain.

    Raises:
        AnchorNotFoundError: it has another one at this height, or none.
    """
    if block is None or block.header.hash != header.hash:
        raise AnchorNotFoundError(
            f"block {header.number} of the receipt is not in the chain of {node.name}",
            hint="it left the chain, or the node is on another one; 'mrv flush' anchors again what is missing",
        )


def _included(node: Node, seen: SeenTransaction, receipt: SeenReceipt | None) -> tuple[Position, SeenReceipt]:
    if seen.position is None:
        raise BackendUnavailableError(f"{node.name} does not say where the transaction is", retryable=True)
    if receipt is None or receipt.block_hash != seen.position.block_hash:
        raise BackendUnavailableError(f"{node.name} has no matching receipt of the transaction yet", retryable=True)
    return seen.position, receipt


def _same(node: Node, block: Block | None, position: Position) -> Block:
    if block is None or block.header.hash != position.block_hash:
        raise _reorganised(node, position.number)
    return block


def _reorganised(node: Node, number: int) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{node.name}: block {number} of the transaction is not in its chain",
        hint="the chain is being reorganised; ask again",
        retryable=True,
    )


def _why_failed(transaction: Transaction, receipt: SeenReceipt) -> str:
    if receipt.succeeded:
        return "it succeeded, but the contract recorded nothing: there was no contract yet, or another one"
    if receipt.gas_used >= transaction.gas:
        return f"it used up its {transaction.gas} gas"
    return "the contract refused it"
