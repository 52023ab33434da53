# SPDX-License-Identifier: MIT
"""What MRVRegistry has under an id, found without any receipt: who registered which hash, and when.

Everyone can register any id. Whose registration counts is the verifier's to say; where they say nothing, whoever first
registered this very hash is named, and so is whoever first registered the id.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from mrv_backends_eth import registry_contract as registry
from mrv_backends_eth import values
from mrv_backends_eth.chain import Found
from mrv_backends_eth.contract import Submission, decode_submission
from mrv_backends_eth.contract_queries import ContractQueries, Statement
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Call, Node
from mrv_backends_eth.searching import transaction_of
from mrv_core.driver import Registration
from mrv_core.errors import VerificationError
from mrv_core.hashing import Digest
from mrv_core.mrv.record import is_mrv_id
from mrv_core.transport import RpcError

_LAST_SECOND: Final = 253_402_300_799
"""End of the year 9999, the last that our documents can write."""
_MOST_LOOKED_AT: Final = 64
"""Registrations of one hash under one id: more than a few are somebody's who wants us to be busy."""


class _Reader:
    """Reads the words of one id from the contract's storage at one block, so that they fit together."""

    def __init__(self, node: Node, queries: ContractQueries, key: bytes, block: str) -> None:
        self._node = node
        self._queries = queries
        self._key = key
        self._block = block

    def entry(self) -> registry.IdEntry:
        (word,) = self._words(registry.id_slot(self._key))
        return registry.decode_id_entry(word)

    def record(self, submitter: bytes) -> tuple[bytes, Submission] | None:
        held, time = self._words(registry.record_slot(submitter, self._key), registry.time_slot(submitter, self._key))
        return (held.to_bytes(32, "big"), decode_submission(time)) if held else None

    def alternate(self, value: bytes) -> bytes:
        (word,) = self._words(registry.alternate_slot(self._key, value))
        return word.to_bytes(32, "big")[-20:]

    def _words(self, *slots: bytes) -> list[int]:
        place = to_hex(self._queries.address)
        calls: list[Call] = [("eth_getStorageAt", [place, to_hex(slot), self._block]) for slot in slots]
        return [int.from_bytes(self._node.data(each, "storage", 32), "big") for each in self._node.ask(*calls)]


def find_registered(
    node: Node, queries: ContractQueries, mrv_id: str, commitment: Digest, expected: Collection[str]
) -> Found:
    """Look an id up.

    Args:
        node: Where.
        queries: The registry.
        mrv_id: The id.
        commitment: Hash of the record that it should be.
        expected: Addresses whose registrations count, in lower case; none for anybody's.

    Raises:
        ConfigurationError: there is no registry at its address.
        BackendError: no usable answer.
    """
    if not is_mrv_id(mrv_id):
        return Found(None, (), 0)  # what the contract does not take, it does not have
    head, *code = node.ask(("eth_blockNumber", ()), *queries.usability_calls(with_proof=False))
    queries.check_usability(node, code)
    block = hex(node.number(head, "block number"))
    reader = _Reader(node, queries, registry.key_of(mrv_id), block)
    entry = reader.entry()
    if entry.submitters == 0:
        return Found(None, (), 0)
    stated = Statement(commitment, mrv_id)
    first = reader.record(entry.first_submitter)
    asked = [bytes.fromhex(each[2:]) for each in sorted(expected)] or [_first_with(reader, entry, first, stated)]
    expects, stranger = (True, False) if expected else (None, None)
    transaction_hash, others = None, {}
    for submitter in asked:
        record = reader.record(submitter)
        if record is None:
            continue
        if record[0] != commitment.value:
            others[submitter] = _registration(node, submitter, record, is_expected=expects)
        elif transaction_hash is None:
            made = transaction_of(node, queries, submitter, stated, record[1].block_number)
            if made is None or expected or _is_call(node, queries, made, stated):
                transaction_hash = made
                continue
            # Through another contract, as anyone can who sees a registration coming: no evidence of it is made.
            others[submitter] = _registration(node, submitter, record, is_expected=None)
            transaction_hash = _next_call(node, queries, stated, record[1].block_number, block)
    if first is not None and entry.first_submitter not in asked:
        others[entry.first_submitter] = _registration(node, entry.first_submitter, first, is_expected=stranger)
    return Found(transaction_hash, tuple(others.values()), entry.submitters)


def _first_with(
    reader: _Reader, entry: registry.IdEntry, first: tuple[bytes, Submission] | None, stated: Statement
) -> bytes:
    if first is not None and first[0] == stated.commitment.value:
        return entry.first_submitter
    return reader.alternate(stated.commitment.value)


def _is_call(node: Node, queries: ContractQueries, transaction_hash: bytes, stated: Statement) -> bool:
    """Tell whether a transaction itself is a call that states it."""
    (answer,) = node.ask(("eth_getTransactionByHash", [to_hex(transaction_hash)]))
    seen = node.transaction(answer, transaction_hash)
    return (
        seen is not None and queries.is_at(seen.transaction.to) and queries.read_call(seen.transaction.input) == stated
    )


def _next_call(node: Node, queries: ContractQueries, stated: Statement, block_number: int, last: str) -> bytes | None:
    """Return the first transaction from a block on that is such a call by anybody, as far as the node shows them."""
    topics = [registry.MRV_REGISTERED, registry.key_of(stated.text), None, stated.commitment.value]
    wanted = [None if topic is None else to_hex(topic) for topic in topics]
    place = {"address": to_hex(queries.address), "fromBlock": hex(block_number), "toBlock": last}
    (logs,) = node.ask(("eth_getLogs", [{**place, "topics": wanted}]))
    if isinstance(logs, RpcError):  # many nodes show the events of some blocks only
        return None
    made = dict.fromkeys(transaction_hash for _, transaction_hash in node.logs(logs)[:_MOST_LOOKED_AT])
    return next((each for each in made if _is_call(node, queries, each, stated)), None)


def _registration(
    node: Node, submitter: bytes, record: tuple[bytes, Submission], *, is_expected: bool | None
) -> Registration:
    with node.understood():
        if record[1].timestamp > _LAST_SECOND:
            raise VerificationError(f"the registry dates a record to {record[1].timestamp} s")
        return Registration(
            commitment=Digest("sha256", record[0]),
            submitter=values.address_text(submitter),
            registered_at=datetime.fromtimestamp(record[1].timestamp, UTC),
            is_expected=is_expected,
        )
