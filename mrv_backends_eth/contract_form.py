# SPDX-License-Identifier: MIT
"""Anchoring in a contract of a real chain that keeps statements: MLProvenance, or MRVRegistry for what has an id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mrv_backends_eth import values
from mrv_backends_eth.contract_queries import ContractQueries, Event, Statement
from mrv_backends_eth.finality import Finality, Tip
from mrv_backends_eth.form import Anchored, FailedTransactionError
from mrv_backends_eth.headers import Header
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Block, Call, Node, Position, SeenReceipt, SeenTransaction
from mrv_backends_eth.state_evidence import ProvenRecord
from mrv_backends_eth.transactions import Transaction
from mrv_core.errors import AnchorNotFoundError, BackendUnavailableError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt
from mrv_core.transport import RpcError

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer


class ContractForm:
    """A call of the contract, and the record that it keeps.

    Args:
        queries: The contract.
    """

    def __init__(self, queries: ContractQueries) -> None:
        self.queries = queries

    @property
    def name(self) -> str:
        """Name of the contract. See `Form`."""
        return self.queries.contract

    def target(self, sender: bytes) -> bytes:
        """Return the contract. See `Form`."""
        return self.queries.address

    def payload(self, writer: Writer, commitment: Digest, metadata: Metadata) -> bytes:
        """Return the data of the call. See `Form`."""
        return self.queries.payload(writer, self.queries.statement(commitment, metadata))

    def commitment(self, transaction: Transaction) -> Digest | None:
        """Return what a call states. See `Form`."""
        stated = self._stated(transaction)
        return None if stated is None else stated.commitment

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
        event = self._event(seen.transaction, receipt)
        asked = event or Event(bytes(20), Statement(commitment, ""))
        block_answer, proof = node.ask(*self._block_and_proof_calls(asked, position.number))
        block = _same(node, node.block(block_answer, position.number), position)
        if event is None or event.statement.commitment != commitment:
            why = _why_failed(seen.transaction, receipt)
            raise FailedTransactionError(seen.transaction, commitment, position.number, why)
        if isinstance(proof, RpcError):  # the node does not keep the state of old blocks
            number = max(tip.final, position.number + 1)
            later, proof = node.ask(*self._block_and_proof_calls(event, number))
            shown = node.block(later, number)
        else:
            shown = block
        evidence = self.queries.evidence(node, shown, event, proof).to_json()
        with node.understood():
            proven = self._proven(evidence, seen.transaction, receipt, commitment)
            self._check_earlier(node, proven, event.statement, block.header)
        return self._anchored(event.statement, proven, block.header, evidence)

    def check(self, node: Node, finality: Finality, transaction_hash: bytes, receipt: Receipt) -> tuple[Anchored, Tip]:
        """Recompute the record, then ask for the block and the transaction. See `Form`."""
        proven = self.queries.prove(receipt.evidence, receipt.commitment)
        if proven.contract != self.queries.address:
            raise VerificationError(
                f"the evidence is about the contract {values.address_text(proven.contract)}, "
                f"not about {values.address_text(self.queries.address)}"
            )
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
        stated = self._stated(seen.transaction)
        if stated is None or stated.commitment != receipt.commitment:
            raise VerificationError(f"{receipt.reference} does not anchor {receipt.commitment}")
        position, done = _included(node, seen, node.receipt(receipt_answer, transaction_hash))
        self._check_event(seen.transaction, done, receipt, stated, proven)
        header = self._block_of(node, position, proven.header)
        self._check_earlier(node, proven, stated, header)
        return self._anchored(stated, proven, header, receipt.evidence), tip

    def _stated(self, transaction: Transaction) -> Statement | None:
        return self.queries.read_call(transaction.input) if self.queries.is_at(transaction.to) else None

    def _block_and_proof_calls(self, event: Event, number: int) -> list[Call]:
        return self.queries.block_and_proof_calls(event.submitter, event.statement, number)

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

    def _event(self, transaction: Transaction, receipt: SeenReceipt) -> Event | None:
        """Return what a transaction made the contract record, now or, where it repeats a statement, earlier."""
        if not receipt.succeeded:
            return None
        event, stated = self.queries.event_in(receipt), self._stated(transaction)
        if event is None and stated is not None and self.queries.repeats_silently:
            return Event(transaction.sender(), stated)
        return event

    def _proven(
        self, evidence: dict[str, Any], transaction: Transaction, receipt: SeenReceipt, commitment: Digest
    ) -> ProvenRecord:
        try:
            return self.queries.prove(evidence, commitment)
        except VerificationError as error:
            if self.queries.event_in(receipt) is not None:
                raise
            raise FailedTransactionError(transaction, commitment, receipt.block_number, error.message) from error

    def _check_event(
        self, transaction: Transaction, done: SeenReceipt, receipt: Receipt, stated: Statement, proven: ProvenRecord
    ) -> None:
        event = self._event(transaction, done)
        if event is None or event.statement != stated:
            raise VerificationError(f"the transaction {receipt.reference} failed, or made the contract record nothing")
        if not proven.is_of(stated.text):
            raise VerificationError(f"{receipt.reference} is about {stated.text}, the evidence is not")
        if event.submitter != proven.submitter:
            raise VerificationError(
                f"{receipt.reference} was sent by {values.address_text(event.submitter)}, "
                f"the evidence is about {values.address_text(proven.submitter)}"
            )

    def _check_earlier(self, node: Node, proven: ProvenRecord, stated: Statement, header: Header) -> None:
        """Check the record's time against the chain: whoever deploys the contract's code can fill in its storage.

        Raises:
            VerificationError: the block that it names does not confirm it.
        """
        first = proven.first
        if first.block_number > header.number:
            raise VerificationError("the contract's record is younger than the transaction")
        if first.block_number == header.number:
            earlier, confirmed = header, True
        else:
            block, logs = node.ask(
                ("eth_getBlockByNumber", [hex(first.block_number), False]),
                self.queries.events_call(proven.submitter, stated, first.block_number),
            )
            found = node.block(block, first.block_number)
            if found is None:
                raise BackendUnavailableError(f"{node.name} has no block {first.block_number}", retryable=True)
            earlier = found.header
            confirmed = bool(self.queries.read_events(node, logs, proven.submitter, stated))
        if not confirmed or earlier.timestamp != first.timestamp:
            raise VerificationError(
                f"the contract dates the record to block {first.block_number}, which does not confirm it",
                hint="the contract was not deployed as this project does it; its records are not to be trusted",
            )

    def _anchored(self, stated: Statement, proven: ProvenRecord, header: Header, evidence: dict[str, Any]) -> Anchored:
        facts: dict[str, Any] = {
            "contract": values.address_text(proven.contract),
            **self.queries.facts(stated),
            **proven.facts(),
        }
        if proven.first.block_number != header.number:
            facts["first_block"] = proven.first.block_number
        return Anchored(
            commitment=stated.commitment,
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
