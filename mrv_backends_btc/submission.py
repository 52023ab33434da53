# SPDX-License-Identifier: MIT
"""Sends prepared transactions. Whatever the node answers, it is asked for the transaction afterwards."""

from __future__ import annotations

from decimal import Decimal

from mrv_backends_btc.locate import Locator
from mrv_backends_btc.node import Node
from mrv_backends_btc.payload import commitments_in
from mrv_backends_btc.replies import SATOSHIS
from mrv_backends_btc.rpc import NodeRpc
from mrv_backends_btc.spending import Spending
from mrv_backends_btc.transaction import Transaction, parse_transaction
from mrv_core.errors import (
    AnchorConflictError,
    BackendError,
    BackendUnavailableError,
    FormatError,
    SubmissionRejectedError,
)
from mrv_core.models import Prepared, Receipt
from mrv_core.transport import RpcError, TransportError


def read_prepared(prepared: Prepared) -> Transaction:
    """Return the transaction in a prepared anchor.

    Raises:
        SubmissionRejectedError: it is none, or another one than its reference and commitment say.
    """
    try:
        transaction = parse_transaction(bytes.fromhex(prepared.payload_hex), what="the prepared transaction")
    except ValueError as error:  # FormatError is one too
        reason = error.message if isinstance(error, FormatError) else "not hexadecimal"
        raise SubmissionRejectedError(f"the prepared bytes are no transaction: {reason}") from error
    anchors = [commitment for _, commitment in commitments_in(transaction)]
    if transaction.txid_hex != prepared.reference or prepared.commitment not in anchors:
        raise SubmissionRejectedError(
            f"the prepared transaction is {transaction.txid_hex}, which is not {prepared.reference[:80]} for "
            f"{prepared.commitment}"
        )
    return transaction


class Submission:
    """Sends the anchors of one network.

    Args:
        rpc: The node's RPC.
        node: The node.
        locator: Finds what was sent.
        spending: What spends the wallet's outputs; None without a wallet.
        final_after: Confirmations after which a conflict counts as final.
    """

    def __init__(self, rpc: NodeRpc, node: Node, locator: Locator, spending: Spending | None, final_after: int) -> None:
        self._rpc = rpc
        self._node = node
        self._locator = locator
        self._spending = spending
        self._final_after = final_after

    def send(self, prepared: Prepared, max_fee_rate: Decimal) -> Receipt:
        """Hand a prepared transaction to the node, and return its receipt once the node has it.

        Args:
            prepared: From `prepare` or `replace`.
            max_fee_rate: `maxfeerate` of the node's method, bitcoins per 1000 virtual bytes.

        Raises:
            AnchorConflictError: it can never be included, because another use of its outputs is final.
            SubmissionRejectedError: the node does not take it now, and nothing else stands in its place.
            BackendError: the node cannot be asked, or another use of its outputs is on its way.
        """
        transaction = read_prepared(prepared)
        self._node.check()
        failure = self._try(prepared.payload_hex, max_fee_rate)
        found = self._locator.present(transaction.txid_hex)
        if found is not None:
            return self._locator.receipt(found)
        if failure is None or isinstance(failure, TransportError):
            raise failure or BackendUnavailableError(
                f"{self._node.name} took transaction {transaction.txid_hex} and does not have it", retryable=True
            )
        self.check_conflict(transaction)
        self._check_rival(transaction, prepared)
        is_too_dear = Decimal(prepared.details.get("fee_sat", 0)) * 1000 / SATOSHIS > max_fee_rate * transaction.vsize
        hint = (
            "it was prepared under a higher max_fee_rate, and is sent only if that is raised again"
            if is_too_dear
            else "the same transaction is offered again later"
        )
        raise SubmissionRejectedError(failure.message, hint=hint, retryable=True) from failure

    def check_conflict(self, transaction: Transaction) -> None:
        """Check that nothing in the chain keeps a transaction out of it.

        Raises:
            AnchorConflictError: something does, and is final.
            BackendUnavailableError: something does, and may still leave the chain.
            BackendError: the node cannot be asked.
        """
        depth = 0 if self._spending is None else self._spending.conflict_depth(transaction)
        what = f"what transaction {transaction.txid_hex} spends is spent otherwise, {depth} blocks deep"
        if depth >= self._final_after:
            raise AnchorConflictError(f"{self._node.name}: {what}", hint="it is anchored anew")
        if depth:
            raise BackendUnavailableError(
                f"{self._node.name}: {what}",
                hint=f"after {self._final_after} blocks it is anchored anew",
                retryable=True,
            )

    def _check_rival(self, transaction: Transaction, prepared: Prepared) -> None:
        """Refuse to take part in a race with somebody else's use of the same outputs.

        An earlier transaction of the same anchor is no rival: whoever asks next may outbid it.

        Raises:
            BackendUnavailableError: there is one in the mempool.
            BackendError: the node cannot be asked.
        """
        rival = None if self._spending is None else self._spending.in_mempool(transaction.inputs)
        found = None if rival is None else self._node.transaction(rival)
        if found is None or prepared.commitment in dict(commitments_in(found.transaction)).values():
            return
        raise BackendUnavailableError(
            f"{self._node.name}: what transaction {transaction.txid_hex} spends is also spent by {rival}, which came "
            "first",
            hint=f"if that one is included, it is anchored anew after {self._final_after} blocks; do not spend from "
            "one wallet with several journals at once",
            retryable=True,
        )

    def _try(self, raw: str, max_fee_rate: Decimal) -> BackendError | None:
        """Send, and return what the node says against it; a success proves nothing yet either.

        Raises:
            TransportError: nothing reached the node.
            BackendError: the HTTP server refused, or the node is still starting.
        """
        try:
            self._rpc.call("sendrawtransaction", raw, max_fee_rate)
        except TransportError as error:
            if not error.maybe_delivered:
                raise
            return error
        except RpcError as error:
            return error
        return None
