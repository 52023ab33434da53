# SPDX-License-Identifier: MIT
"""Questions about the MLProvenance contract of a real chain, and the answers: its code, records, events and proofs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrv_backends_eth import contract as mlprovenance
from mrv_backends_eth import values
from mrv_backends_eth.chains import PARENT_NUMBERED, name_of
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.node import Block, Call, Node, SeenReceipt
from mrv_backends_eth.state_evidence import StateEvidence
from mrv_core.errors import BackendUnavailableError, ConfigurationError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.transport import RpcError

_NO_KEY = bytes(32)


class ContractQueries:
    """One contract. Has no state but its address.

    Args:
        address: The contract, 20 bytes; None where the settings do not name it.
        network: Configured name of the network, for messages.
    """

    def __init__(self, address: bytes | None, network: str) -> None:
        self._address = address
        self._network = network

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
                f"{self._network}.contract_address is missing: where the MLProvenance contract is",
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
                hint='set "mode": "calldata" for this network',
            )
        code = node.data(answers[0], "code")
        place = f"{self._network}: at {values.address_text(self.address)} on {node.name}"
        if not code:
            raise ConfigurationError(f"{place} there is no contract", hint=self._deploy_hint())
        if keccak256(code) not in mlprovenance.CODE_HASHES:
            raise ConfigurationError(f"{place} there is another contract than MLProvenance", hint=self._deploy_hint())
        for proof in answers[1:]:
            if isinstance(proof, RpcError):
                raise BackendUnavailableError(
                    f"{node.name} makes no proofs (eth_getProof): {proof.reason}",
                    hint='use a node that makes them, or set "mode": "calldata" for this network',
                )

    def record_call(self, submitter: bytes, root: bytes, block: str) -> Call:
        """Ask for the contract's record of a submitter and a root."""
        slot = mlprovenance.submission_slot(submitter, root)
        return ("eth_getStorageAt", [to_hex(self.address), to_hex(slot), block])

    def read_record(self, node: Node, answer: Any) -> mlprovenance.Submission:
        """Read the answer; both numbers are zero where there is no record."""
        return mlprovenance.decode_submission(int.from_bytes(node.data(answer, "storage", 32), "big"))

    def events_call(self, submitter: bytes, root: bytes, block_number: int) -> Call:
        """Ask for the statements of a root by a submitter in one block."""
        topics = [to_hex(mlprovenance.HASH_SUBMITTED), to_hex(root), to_hex(submitter.rjust(32, b"\0"))]
        place = {"fromBlock": hex(block_number), "toBlock": hex(block_number)}
        return ("eth_getLogs", [{"address": to_hex(self.address), "topics": topics, **place}])

    def read_events(self, node: Node, answer: Any, submitter: bytes, root: bytes) -> list[tuple[Digest, bytes]]:
        """Read the answer: commitment and transaction hash of every statement."""
        found = []
        with node.understood():
            for log, transaction_hash in node.logs(answer):
                event = _event_in(log.topics, log.data)
                if log.address == self.address and event is not None and not log.removed:
                    if (event.submitter, event.root) == (submitter, root):
                        found.append((event.commitment, transaction_hash))
        return found

    def event_in(self, receipt: SeenReceipt) -> mlprovenance.HashSubmitted | None:
        """Return the first `HashSubmitted` that the contract emitted."""
        for log in receipt.logs:
            event = _event_in(log.topics, log.data)
            if log.address == self.address and event is not None and not log.removed:
                return event
        return None

    def block_and_proof_calls(self, submitter: bytes, root: bytes, number: int) -> list[Call]:
        """Ask for a block, and for the proof of a record in its state."""
        # Keys of 32 bytes: anvil takes no shorter ones.
        key = to_hex(mlprovenance.submission_slot(submitter, root))
        return [
            ("eth_getBlockByNumber", [hex(number), False]),
            ("eth_getProof", [to_hex(self.address), [key], hex(number)]),
        ]

    def evidence(self, node: Node, block: Block | None, submitter: bytes, proof: Any) -> StateEvidence:
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
        with node.understood():
            found = values.fields(proof, "proof")
            slots = found.get("storageProof")
            slot = values.fields(slots[0] if isinstance(slots, list) and len(slots) == 1 else None, "storage proof")
            return StateEvidence(
                block_number=block.header.number,
                block_hash=block.header.hash,
                header=block.raw,
                contract=self.address,
                submitter=submitter,
                account_proof=_nodes(found.get("accountProof")),
                storage_proof=_nodes(slot.get("proof")),
            )

    def _deploy_hint(self) -> str:
        return f"run 'mrv contract deploy --network {self._network}', or correct contract_address"


def _event_in(topics: Sequence[bytes], data: bytes) -> mlprovenance.HashSubmitted | None:
    if list(topics[:1]) != [mlprovenance.HASH_SUBMITTED]:
        return None
    try:
        return mlprovenance.decode_event(topics, data)
    except VerificationError:
        return None


def _nodes(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list):
        value = None
    return tuple(values.data(item, "proof node") for item in value or ())
