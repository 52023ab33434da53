# SPDX-License-Identifier: MIT
"""Why a node does not know a transaction that we signed: refused, lost on the way, or overtaken."""

from __future__ import annotations

from enum import Enum, auto

from mrv_backends_eth.finality import Tip
from mrv_backends_eth.form import Form
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.node import Node
from mrv_backends_eth.transactions import Transaction
from mrv_core.errors import AnchorConflictError, BackendError, BackendUnavailableError, SubmissionRejectedError
from mrv_core.transport import RpcError

_ADVICE = "whatever else signs with this key should have a key of its own"


class Fate(Enum):
    """What became of a transaction's nonce."""

    FREE = auto()
    TAKEN = auto()
    TAKEN_FOR_GOOD = auto()
    UNCLEAR = auto()


def fate(node: Node, form: Form, transaction: Transaction, tip: Tip) -> Fate:
    """Find out what became of the nonce of a transaction that the node did not know a moment ago.

    Raises:
        ConfigurationError: the contract is gone: the chain was begun anew.
        BackendError: no usable answer.
    """
    sender = to_hex(transaction.sender())
    used, used_for_good, *usability = node.ask(
        ("eth_getTransactionCount", [sender, "latest"]),
        ("eth_getTransactionCount", [sender, hex(max(tip.final, 0))]),
        *form.usability_calls(with_proof=False),
    )
    form.check_usability(node, usability)
    if node.number(used, "nonce") <= transaction.nonce:
        return Fate.FREE
    # It may have been included just now. Only if it is unknown *after* its nonce was used, another one used it.
    (again,) = node.ask(("eth_getTransactionByHash", [to_hex(transaction.hash)]))
    if node.transaction(again, transaction.hash) is not None:
        return Fate.UNCLEAR
    # Not every node keeps the state of a block that is some hours old.
    is_known = tip.final >= 0 and not isinstance(used_for_good, RpcError)
    is_final = is_known and node.number(used_for_good, "nonce") > transaction.nonce
    return Fate.TAKEN_FOR_GOOD if is_final else Fate.TAKEN


def conflict(network: str, transaction: Transaction) -> AnchorConflictError:
    """Return the error for a transaction that can never be included any more."""
    return AnchorConflictError(
        f"{network}: another transaction of the account took nonce {transaction.nonce}, for good",
        hint=f"it is anchored anew; {_ADVICE}",
    )


def explain(
    node: Node, form: Form, transaction: Transaction, tip: Tip, failure: BackendError | None, network: str
) -> BackendError | AnchorConflictError:
    """Return the error for a transaction that was sent and is not there.

    Args:
        node: Where it was sent.
        form: The form of new anchors.
        transaction: What was sent.
        tip: The end of the chain.
        failure: What sending raised, if it did. It decides nothing by itself.
        network: Configured name, for messages.

    Returns:
        `AnchorConflictError` where another transaction took its nonce for good; `SubmissionRejectedError`, retryable,
        where the node refused it, since prices, balances and pools change; else "cannot be told yet", retryable.
    """
    became = fate(node, form, transaction, tip)
    if became is Fate.TAKEN_FOR_GOOD:
        return conflict(network, transaction)
    if became is Fate.TAKEN:
        return BackendUnavailableError(
            f"{network}: another transaction of the account took nonce {transaction.nonce}, and its block is not "
            "final yet",
            hint=f"run 'mrv flush' later; {_ADVICE}",
            retryable=True,
        )
    if became is Fate.FREE and isinstance(failure, RpcError):
        return SubmissionRejectedError(
            f"{node.name} does not take the transaction: {failure.reason}",
            hint="what was signed is kept and sent again by 'mrv flush'",
            retryable=True,
        )
    if became is Fate.FREE and failure is not None:
        return failure
    return BackendUnavailableError(
        f"{node.name} took the transaction, but does not know it", hint="run 'mrv flush'", retryable=True
    )
