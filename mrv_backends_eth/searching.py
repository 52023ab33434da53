# SPDX-License-Identifier: MIT
"""Looking for our own record in a contract, when no reference to its transaction is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrv_backends_eth import values
from mrv_backends_eth.contract_queries import ContractQueries, Statement
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Node
from mrv_core.errors import BackendUnavailableError
from mrv_core.transport import RpcError


def find(node: Node, queries: ContractQueries, submitter: bytes, stated: Statement, network: str) -> bytes | None:
    """Ask the contract for a submitter's record, then for the event that made it; return its transaction's hash.

    Raises:
        BackendUnavailableError: its transaction waits, or the node does not show it.
        SubmissionRejectedError: the submitter's record is of something else.
    """
    calls = [queries.record_calls(submitter, stated, at) for at in ("latest", "pending")]
    answers = node.ask(*calls[0], *calls[1])
    now, soon = answers[: len(calls[0])], answers[len(calls[0]) :]
    record = queries.read_record(node, now, submitter, stated)
    if record is None:
        # Not every node has a pending state; one that has shows what is on its way.
        if not _has_error(soon) and queries.read_record(node, soon, submitter, stated) is not None:
            raise BackendUnavailableError(
                f"{network}: a transaction of {values.address_text(submitter)} that anchors {stated.commitment} "
                "is on its way",
                hint="run 'mrv flush' when it is in a block",
                retryable=True,
            )
        return None
    return transaction_of(node, queries, submitter, stated, record.block_number)


def transaction_of(
    node: Node, queries: ContractQueries, submitter: bytes, stated: Statement, block_number: int
) -> bytes | None:
    """Return the hash of the transaction that made a record, or None where it stated another commitment.

    Raises:
        BackendUnavailableError: the node does not show it.
    """
    (logs,) = node.ask(queries.events_call(submitter, stated, block_number))
    found = queries.read_events(node, logs, submitter, stated)
    if not found:
        raise BackendUnavailableError(f"{node.name} does not show the event of a record", retryable=True)
    return next((each for shown, each in found if shown.commitment == stated.commitment), None)


def are_new(node: Node, queries: ContractQueries, submitter: bytes, stated: Sequence[Statement]) -> list[bool]:
    """Ask the contract for a submitter's records, those of transactions that wait included.

    Raises:
        SubmissionRejectedError: as of `find`.
    """
    calls = [queries.record_calls(submitter, each, at) for each in stated for at in ("latest", "pending")]
    used, sent, *answers = node.ask(
        ("eth_getTransactionCount", [to_hex(submitter), "latest"]),
        ("eth_getTransactionCount", [to_hex(submitter), "pending"]),
        *(call for group in calls for call in group),
    )
    nothing_waits = node.number(used, "nonce") == node.number(sent, "nonce")
    rest = iter(answers)
    groups = [[next(rest) for _ in group] for group in calls]
    found = []
    for each, now, soon in zip(stated, groups[::2], groups[1::2], strict=True):
        is_there = queries.read_record(node, now, submitter, each) is not None
        if _has_error(soon):
            is_coming = not nothing_waits
        else:
            is_coming = queries.read_record(node, soon, submitter, each) is not None
        found.append(not is_there and not is_coming)
    return found


def _has_error(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, RpcError) for answer in answers)
