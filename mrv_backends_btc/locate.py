# SPDX-License-Identifier: MIT
"""Finds anchors by transaction id, and our own by what they commit to, and turns them into receipts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from mrv_backends_btc.evidence import check_evidence
from mrv_backends_btc.node import Found, Node
from mrv_backends_btc.offline import DRIVER, check_floor
from mrv_backends_btc.payload import commitments_in
from mrv_backends_btc.replies import ListedTransaction
from mrv_backends_btc.settings import BitcoinSettings
from mrv_backends_btc.wallet import Wallet
from mrv_core.errors import AnchorNotFoundError, BackendError, BackendUnavailableError
from mrv_core.hashing import Digest
from mrv_core.models import Receipt, ReceiptState, utc_now


class Locator:
    """Finds the anchors of one network.

    Args:
        network: Configured name.
        node: The node.
        wallet: Our wallet, or None where the network only verifies.
        settings: Which chain, and when an anchor is final.
    """

    def __init__(self, network: str, node: Node, wallet: Wallet | None, settings: BitcoinSettings) -> None:
        self._network = network
        self._node = node
        self._wallet = wallet
        self._settings = settings
        self._known: dict[str, tuple[Digest, ...]] = {}

    def state(self, confirmations: int) -> ReceiptState:
        """Return how far an anchor has come with so many confirmations, the including block counted."""
        return ReceiptState.FINAL if confirmations >= self._settings.final_after else ReceiptState.INCLUDED

    def receipt(self, found: Found, submitted_at: datetime | None = None) -> Receipt:
        """Return the receipt of a transaction that was found, with checked evidence where it is in a block.

        Args:
            found: The transaction.
            submitted_at: When it was submitted, where that is known.

        Raises:
            AnchorNotFoundError: it has no commitment of ours.
            VerificationError: the node's proof does not hold.
            BackendError: the node cannot be asked, or the block was replaced meanwhile.
        """
        txid = found.transaction.txid_hex
        anchors = commitments_in(found.transaction)
        if not anchors:
            raise AnchorNotFoundError(
                f"transaction {txid} has no commitment of ours", hint="check the transaction id and the network"
            )
        pending = Receipt(
            network=self._network,
            driver=DRIVER,
            network_id=self._settings.chain.network_id,
            embedded=False,
            commitment=anchors[0][1],
            state=ReceiptState.PENDING,
            reference=txid,
            submitted_at=submitted_at or utc_now(),
        )
        return pending if found.block_hash is None else self._included(pending, found)

    def _included(self, pending: Receipt, found: Found) -> Receipt:
        evidence, info = self._node.evidence(found)
        chain = self._settings.chain
        checked = check_evidence(evidence.to_json(), pending.reference, pending.commitment, chain)
        check_floor(checked.header, chain, self._settings.min_work)
        return pending.model_copy(
            update={
                "state": self.state(info.confirmations),
                "block_time": checked.header.time,
                "evidence": evidence.to_json(),
            }
        )

    def find(self, txid: str, block_hash: str | None = None) -> Found:
        """Find a transaction by its id.

        Args:
            txid: As explorers show it.
            block_hash: Block that is said to hold it, which a node without an index needs.

        Raises:
            AnchorNotFoundError: it is neither in the chain nor on its way.
            BackendError: that cannot be known without an index, or the node cannot be asked.
        """
        found = self.present(txid)
        if found is None and block_hash is not None and self._in_chain(block_hash):
            found = self._node.transaction(txid, block_hash)
        if found is not None:
            return found
        self._node.check_synced()
        if self._node.has_index():
            raise AnchorNotFoundError(f"{self._node.name}: no transaction {txid} in the chain and in the mempool")
        if self._wallet is not None:
            raise AnchorNotFoundError(
                f"{self._node.name}: neither the mempool nor wallet {self._wallet.name!r} has transaction {txid}",
                hint="where another wallet made it, start the node with -txindex=1, or verify a receipt that has its "
                "block",
            )
        raise BackendError(
            f"{self._node.name} cannot find transaction {txid} in its blocks, because it has no index of transactions",
            hint="start the node with -txindex=1, or verify a receipt that has its block",
        )

    def by_commitment(self, commitment: Digest) -> Receipt | None:
        """Find our own anchor of a commitment: the oldest in the chain, else one on its way.

        Raises:
            BackendUnavailableError: the wallet has one that is neither in the chain nor in the mempool, and may still
                be included; or it does not know yet what it has.
            BackendError: the node cannot be asked, or no wallet is configured.
        """
        if self._wallet is None:
            raise BackendError(
                f"{self._node.name}: no wallet is configured, so there is nothing to search",
                hint="name the wallet that made the anchors with 'wallet'",
            )
        self._wallet.check_scanned()
        held_back = None
        for entry in self._own(self._wallet, commitment):
            found = self.present(entry.txid)
            if found is not None:
                return self.receipt(found, datetime.fromtimestamp(entry.time, UTC) if entry.time else None)
            held_back = entry
        if held_back is None:
            return None
        raise self._held_back(held_back, self._wallet.name)

    def _own(self, wallet: Wallet, commitment: Digest) -> Iterator[ListedTransaction]:
        """Yield the wallet's anchors of a commitment that may be included yet: those in blocks first, oldest first."""
        for entry in sorted(wallet.sent(data_only=True), key=_age):
            is_lost = entry.abandoned or entry.confirmations <= -self._settings.final_after
            if not is_lost and commitment in self._commitments(wallet, entry.txid):
                yield entry

    def _commitments(self, wallet: Wallet, txid: str) -> tuple[Digest, ...]:
        """Return what a transaction of the wallet commits to, which its id settles for ever: each is read once."""
        if txid not in self._known:
            known = wallet.transaction(txid)
            if known is None:
                return ()
            transaction = self._node.parse(known.hex, txid, "gettransaction")
            self._known[txid] = tuple(commitment for _, commitment in commitments_in(transaction))
        return self._known[txid]

    def _held_back(self, entry: ListedTransaction, wallet: str) -> BackendUnavailableError:
        what = f"{self._node.name}: transaction {entry.txid} of wallet {wallet!r} anchors it, but"
        if entry.confirmations < 0:
            return BackendUnavailableError(
                f"{what} what it spends is spent otherwise, {-entry.confirmations} blocks deep",
                hint=f"after {self._settings.final_after} blocks it is anchored anew",
                retryable=True,
            )
        return BackendUnavailableError(
            f"{what} is in no block and not in the mempool",
            hint=f"send it again (sendrawtransaction), or give it up: bitcoin-cli abandontransaction {entry.txid}",
            retryable=True,
        )

    def present(self, txid: str) -> Found | None:
        """Find a transaction through the wallet, in the mempool, or in the index of a node that has one."""
        known = None if self._wallet is None else self._wallet.transaction(txid)
        if known is not None and known.confirmations > 0:
            return Found(self._node.parse(known.hex, txid, "gettransaction"), known.blockhash)
        return self._node.transaction(txid)

    def _in_chain(self, block_hash: str) -> bool:
        header = self._node.header(block_hash)
        return header is not None and header.confirmations > 0


def _age(entry: ListedTransaction) -> tuple[bool, int, int, int]:
    return entry.confirmations == 0, entry.blockheight or 0, entry.blockindex, entry.time
