# SPDX-License-Identifier: MIT
"""Questions about a contract of a real chain that keeps statements, and the answers: code, records, events, proofs.

Which contract it is, and how its bytes are laid out, its subclasses know: `ProvenanceQueries`, `RegistryQueries`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mrv_backends_eth import values
from mrv_backends_eth.chains import PARENT_NUMBERED, name_of
from mrv_backends_eth.contract import Submission
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.node import Block, Call, Node, SeenReceipt
from mrv_backends_eth.state_evidence import ProvenRecord
from mrv_core.errors import BackendUnavailableError, ConfigurationError
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Model
from mrv_core.transport import RpcError

if TYPE_CHECKING:
    from mrv_backends_eth.writing import Writer

_NO_KEY = bytes(32)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is stated to a contract: a commitment, and the text beside it, which is public metadata or an MRV id."""

    commitment: Digest
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a contract: who stated something (20 bytes), and what."""

    submitter: bytes
    statement: Statement


class ContractQueries(ABC):
    """One contract. Has no state but its address.

    Args:
        address: The contract, 20 bytes; None where the settings do not name it.
        network: Configured name of the network, for messages.
    """

    contract: ClassVar[str]
    """Name of the contract."""
    setting: ClassVar[str]
    """Key of the settings with its address."""
    code_hashes: ClassVar[frozenset[bytes]]
    repeats_silently: ClassVar[bool]
    """Whether repeating a statement succeeds without an event."""
    instead: ClassVar[str]
    """What can be done on a chain on which the contract is of no use."""

    def __init__(self, address: bytes | None, network: str) -> None:
        self._address = address
        self._network = network

    # --- what the subclass knows --------------------------------------------------------------------------------

    @abstractmethod
    def statement(self, commitment: Digest, metadata: Metadata) -> Statement:
        """Return what is stated to anchor a commitment.

        Raises:
            FormatError: the contract does not take it.
        """

    @abstractmethod
    def payload(self, writer: Writer, statement: Statement) -> bytes:
        """Return the data of a call that states it."""

    @abstractmethod
    def read_call(self, data: bytes) -> Statement | None:
        """Return what a call states, or None where the data is no such call."""

    @abstractmethod
    def read_event(self, topics: Sequence[bytes], data: bytes) -> Event | None:
        """Read a log of the contract; None where it is another event, or none that it can have emitted."""

    @abstractmethod
    def facts(self, statement: Statement) -> dict[str, Any]:
        """Return what a statement says besides its commitment, for people to read."""

    @abstractmethod
    def topics(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the topics of the event that a statement by a submitter makes, as far as they are known."""

    @abstractmethod
    def record_slots(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the storage slots of a submitter's record."""

    @abstractmethod
    def decode_record(self, words: Sequence[int], statement: Statement, submitter: bytes) -> Submission | None:
        """Read what these slots hold; None where there is no record.

        Raises:
            SubmissionRejectedError: the record is of something else, so that the contract would refuse this.
        """

    @abstractmethod
    def proof_slots(self, submitter: bytes, statement: Statement) -> list[bytes]:
        """Return the storage slots that the evidence proves."""

    @abstractmethod
    def make_evidence(self, common: Mapping[str, Any], statement: Statement, proofs: Sequence[Any]) -> Model:
        """Put evidence together.

        Args:
            common: What evidence of every contract has.
            statement: What it is about.
            proofs: The nodes of each of `proof_slots`.
        """

    @abstractmethod
    def prove(self, evidence: Mapping[str, Any], commitment: Digest) -> ProvenRecord:
        """Recompute what evidence shows of a commitment.

        Raises:
            VerificationError: something in it is wrong.
        """

    # --- what is the same for all -------------------------------------------------------------------------------

    def is_at(self, address: bytes | None) -> bool:
        """Tell whether this is the contract's address."""
        return self._address is not None and address == self._address

    @property
    def address(self) -> bytes:
        """Address of the contract, 20 bytes.

        Raises:
            ConfigurationError: the settings do not name it.
        """
        if self._address is None:
            raise ConfigurationError(
                f"{self._network}.{self.setting} is missing: where the {self.contract} contract is",
                hint=self._deploy_hint(),
            )
        return self._address

    def usability_calls(self, *, with_proof: bool) -> list[Call]:
        """Ask for the code, and for some proof."""
        place = to_hex(self.address)
        code: Call = ("eth_getCode", [place, "latest"])
        return [code, ("eth_getProof", [place, [to_hex(_NO_KEY)], "latest"])] if with_proof else [code]

    def check_usability(self, node: Node, answers: Sequence[Any]) -> None:
        """Compare the code: a transaction to an address without code succeeds, and does nothing.

        Raises:
            ConfigurationError: there is other code, or none, or what it records could not be dated.
            BackendUnavailableError: the node makes no proofs.
        """
        if node.chain_id() in PARENT_NUMBERED:
            raise ConfigurationError(
                f"{self._network}: on chain {name_of(node.chain_id())} a contract is told the block numbers of another "
                "chain, so no block would confirm its records",
                hint=self.instead,
            )
        code = node.data(answers[0], "code")
        place = f"{self._network}: at {values.address_text(self.address)} on {node.name}"
        if not code:
            raise ConfigurationError(f"{place} there is no contract", hint=self._deploy_hint())
        if keccak256(code) not in self.code_hashes:
            raise ConfigurationError(
                f"{place} there is another contract than {self.contract}", hint=self._deploy_hint()
            )
        for proof in answers[1:]:
            if isinstance(proof, RpcError):
                raise BackendUnavailableError(
                    f"{node.name} makes no proofs (eth_getProof): {proof.reason}",
                    hint=f"use a node that makes them, or {self.instead}",
                )

    def record_calls(self, submitter: bytes, statement: Statement, block: str) -> list[Call]:
        """Ask for the contract's record of what a submitter stated."""
        slots = self.record_slots(submitter, statement)
        return [("eth_getStorageAt", [to_hex(self.address), to_hex(slot), block]) for slot in slots]

    def read_record(
        self, node: Node, answers: Sequence[Any], submitter: bytes, statement: Statement
    ) -> Submission | None:
        """Read the answers; None where there is no record. Raises what `decode_record` raises."""
        words = [int.from_bytes(node.data(answer, "storage", 32), "big") for answer in answers]
        return self.decode_record(words, statement, submitter)

    def events_call(self, submitter: bytes, statement: Statement, block_number: int) -> Call:
        """Ask for such statements by a submitter in one block."""
        topics = [to_hex(topic) for topic in self.topics(submitter, statement)]
        place = {"fromBlock": hex(block_number), "toBlock": hex(block_number)}
        return ("eth_getLogs", [{"address": to_hex(self.address), "topics": topics, **place}])

    def read_events(
        self, node: Node, answer: Any, submitter: bytes, statement: Statement
    ) -> list[tuple[Statement, bytes]]:
        """Read the answer: statement and transaction hash of every event that has these topics."""
        wanted, found = self.topics(submitter, statement), []
        with node.understood():
            for log, transaction_hash in node.logs(answer):
                event = self.read_event(log.topics, log.data)
                if log.address == self.address and event is not None and not log.removed:
                    if self.topics(event.submitter, event.statement) == wanted:
                        found.append((event.statement, transaction_hash))
        return found

    def event_in(self, receipt: SeenReceipt) -> Event | None:
        """Return the first event of a statement that the contract emitted."""
        for log in receipt.logs:
            event = self.read_event(log.topics, log.data)
            if log.address == self.address and event is not None and not log.removed:
                return event
        return None

    def block_and_proof_calls(self, submitter: bytes, statement: Statement, number: int) -> list[Call]:
        """Ask for a block, and for the proof of a record in its state."""
        # Keys of 32 bytes: anvil takes no shorter ones.
        keys = [to_hex(slot) for slot in self.proof_slots(submitter, statement)]
        return [
            ("eth_getBlockByNumber", [hex(number), False]),
            ("eth_getProof", [to_hex(self.address), keys, hex(number)]),
        ]

    def evidence(self, node: Node, block: Block | None, event: Event, proof: Any) -> Model:
        """Put a proof and its block together; nothing is checked yet.

        Raises:
            BackendUnavailableError: there is none.
        """
        if isinstance(proof, RpcError) or block is None:
            raise BackendUnavailableError(
                f"{node.name} does not prove the record"
                + (f": {proof.reason}" if isinstance(proof, RpcError) else ": it has no later block yet"),
                hint="ask a node that keeps the state of that block, or wait for the next block",
                retryable=True,
            )
        keys = self.proof_slots(event.submitter, event.statement)
        with node.understood():
            found = values.fields(proof, "proof")
            slots = found.get("storageProof")
            asked = slots if isinstance(slots, list) and len(slots) == len(keys) else [None] * len(keys)
            proofs = [_nodes(values.fields(slot, "storage proof").get("proof")) for slot in asked]
            common = {
                "block_number": block.header.number,
                "block_hash": block.header.hash,
                "header": block.raw,
                "contract": self.address,
                "submitter": event.submitter,
                "account_proof": _nodes(found.get("accountProof")),
            }
            return self.make_evidence(common, event.statement, proofs)

    def _deploy_hint(self) -> str:
        return (
            f"run 'mrv contract deploy --network {self._network} --contract {self.contract}', or correct {self.setting}"
        )


def _nodes(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        value = None
    return tuple(values.data(item, "proof node") for item in value or ())
