# SPDX-License-Identifier: MIT
"""Who spends what an anchor spends: nobody yet, something in the mempool, or something in the chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from mrv_backends_btc.node import Node
from mrv_backends_btc.replies import Spender
from mrv_backends_btc.rpc import NodeRpc
from mrv_backends_btc.transaction import Input, Transaction
from mrv_backends_btc.wallet import Wallet


class Spending:
    """Looks for conflicting uses of a wallet's outputs.

    Args:
        rpc: The node's RPC.
        node: The node.
        wallet: Whose outputs they are.
    """

    def __init__(self, rpc: NodeRpc, node: Node, wallet: Wallet) -> None:
        self._rpc = rpc
        self._node = node
        self._wallet = wallet

    def in_mempool(self, inputs: Iterable[Input]) -> str | None:
        """Return the id of a transaction in the mempool that spends one of these outputs, or None.

        Raises:
            BackendError: the node cannot be asked.
        """
        outputs = [{"txid": each.txid_hex, "vout": each.index} for each in inputs]
        answers = self._rpc.call("gettxspendingprevout", outputs)
        try:
            spenders = [Spender.model_validate(each).spendingtxid for each in answers]
        except (ValidationError, TypeError):
            raise self._rpc.unexpected("gettxspendingprevout") from None
        return next((spender for spender in spenders if spender is not None), None)

    def conflict_depth(self, transaction: Transaction) -> int:
        """Return how many confirmations something has that keeps a transaction out of the chain; 0 where nothing does.

        That is another use of one of its outputs, or a conflict of the transaction that was to make one of them.

        Raises:
            BackendError: the node cannot be asked.
        """
        own = self._wallet.transaction(transaction.txid_hex)
        if own is not None and own.confirmations:
            return max(0, -own.confirmations)
        depths = [0, *self._depths_of_parents(transaction), *self._depths_of_rivals(transaction)]
        return max(depths)

    def _depths_of_parents(self, transaction: Transaction) -> Iterator[int]:
        for each in transaction.inputs:
            parent = self._wallet.transaction(each.txid_hex)
            if parent is not None:
                yield -parent.confirmations

    def _depths_of_rivals(self, transaction: Transaction) -> Iterator[int]:
        spent = {each.outpoint for each in transaction.inputs}
        for entry in self._wallet.sent():
            mined = entry.confirmations > 0 and entry.txid != transaction.txid_hex
            rival = self._wallet.transaction(entry.txid) if mined else None
            if rival is not None:
                parsed = self._node.parse(rival.hex, entry.txid, "gettransaction")
                if not spent.isdisjoint(each.outpoint for each in parsed.inputs):
                    yield rival.confirmations
