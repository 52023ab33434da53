# SPDX-License-Identifier: MIT
"""What is asked of a node about its chain: is it the right one, where is a transaction, is a block in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mrv_backends_btc.bytereader import displayed
from mrv_backends_btc.chains import Chain
from mrv_backends_btc.evidence import BitcoinEvidence, make_evidence
from mrv_backends_btc.header import Header, parse_header
from mrv_backends_btc.merkle import MerkleBlock, parse_merkle_block
from mrv_backends_btc.replies import BlockInfo, ChainInfo, FoundTransaction, HeaderInfo
from mrv_backends_btc.rpc import NOT_FOUND, NodeRpc
from mrv_backends_btc.transaction import Transaction, parse_transaction
from mrv_core.errors import BackendError, BackendUnavailableError, FormatError, VerificationError
from mrv_core.transport import RpcError

_NO_SUCH_HEIGHT: Final = -8
_MAX_HEIGHT: Final = 2**31 - 1
"""Largest height that nodes take a question about."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a transaction is.

    Attributes:
        transaction: The transaction.
        block_hash: Block that holds it, as explorers show it; None while it waits in the mempool.
    """

    transaction: Transaction
    block_hash: str | None


class Node:
    """One node, on one chain. Thread-safe.

    Args:
        rpc: Its RPC.
        chain: The chain it must be on.
    """

    def __init__(self, rpc: NodeRpc, chain: Chain) -> None:
        self._rpc = rpc
        self._chain = chain

    @property
    def name(self) -> str:
        """Its masked name."""
        return self._rpc.name

    def check(self) -> ChainInfo:
        """Check that the node is on the expected chain, by name and first block, and return how far it is.

        Raises:
            BackendError: it is on another chain, or cannot be asked.
        """
        info = self._rpc.ask(ChainInfo, "getblockchaininfo")
        genesis = self._rpc.call("getblockhash", 0)
        if info.chain != self._chain.name or genesis != self._chain.genesis:
            chain, first = self._rpc.mask(info.chain, 20), self._rpc.mask(str(genesis), 64)
            raise BackendError(
                f"{self.name} is on the chain {chain!r} with first block {first}, not on {self._chain.name!r}",
                hint="correct 'network' or 'rpc_url' in the configuration",
            )
        return info

    def check_synced(self) -> ChainInfo:
        """Check the chain, and that the node has all of it that it knows of.

        Raises:
            BackendUnavailableError: it is still downloading or checking blocks.
            BackendError: as of `check`.
        """
        info = self.check()
        if info.initialblockdownload or info.blocks < info.headers:
            raise BackendUnavailableError(
                f"{self.name} is still synchronising: it has {info.blocks} of {info.headers} blocks",
                hint="wait until the node has caught up with the network",
                retryable=True,
            )
        return info

    def trusts(self) -> tuple[str, ...]:
        """Return what remains to be trusted after this node was asked, one sentence each."""
        return (
            f"The node {self.name} says which blocks are in the Bitcoin chain {self._chain.name}.",
            "The time of a block is its miner's, right to about two hours: take the day.",
            "Who sent the transaction is not shown: anyone can put any commitment into one.",
        )

    def header(self, block_hash: str) -> HeaderInfo | None:
        """Return what the node knows of a block, or None where it has never seen it.

        Raises:
            BackendUnavailableError: never seen, by a node that has not caught up.
            BackendError: it cannot be asked.
        """
        try:
            info = self._rpc.ask(HeaderInfo, "getblockheader", block_hash, True)
        except RpcError as error:
            if error.code != NOT_FOUND:
                raise
            self.check_synced()
            return None
        if info.hash != block_hash:
            raise self._rpc.unexpected("getblockheader")
        return info

    def header_at(self, height: int) -> tuple[HeaderInfo, Header] | None:
        """Return what the node knows of the block at a height, and its header; None where the chain is not so long.

        Raises:
            BackendUnavailableError: not so long, at a node that has not caught up; or the block left the chain
                meanwhile.
            BackendError: it cannot be asked, or contradicts itself.
        """
        try:
            block_hash = self._rpc.call("getblockhash", min(height, _MAX_HEIGHT))
        except RpcError as error:
            if error.code != _NO_SUCH_HEIGHT:
                raise
            self.check_synced()
            return None
        header = self._parse_header(self._rpc.call("getblockheader", block_hash, False))
        info = self.header(header.hash_hex) if header.hash_hex == block_hash else None
        if info is None or info.height != height:
            raise self._rpc.unexpected("getblockheader")
        if info.confirmations < 1:
            raise self._left(info.hash)
        return info, header

    def transaction(self, txid: str, block_hash: str | None = None) -> Found | None:
        """Find a transaction in the mempool, in the index of a node that has one, or in a block that is known.

        Returns:
            None where the node does not see it. Without an index and without a block that says little.

        Raises:
            BackendError: it cannot be asked.
        """
        params = [txid, True] if block_hash is None else [txid, True, block_hash]
        try:
            found = self._rpc.ask(FoundTransaction, "getrawtransaction", *params)
        except RpcError as error:
            if error.code != NOT_FOUND:
                raise
            return None
        return Found(self.parse(found.hex, txid, "getrawtransaction"), found.blockhash)

    def has_index(self) -> bool:
        """Whether the node finds every transaction of the chain by its id (`-txindex`)."""
        indices = self._rpc.call("getindexinfo", "txindex")
        index = indices.get("txindex") if isinstance(indices, dict) else None
        return isinstance(index, dict) and index.get("synced") is True

    def evidence(self, found: Found) -> tuple[BitcoinEvidence, HeaderInfo]:
        """Collect the evidence of a transaction that is in a block; whether it holds is checked elsewhere.

        Raises:
            BackendUnavailableError: the block left the chain meanwhile.
            VerificationError: the node's proof is malformed or shows something else.
            BackendError: the node cannot be asked, or has pruned the block.
        """
        block_hash = found.block_hash or ""
        info = self.header(block_hash)
        if info is None or info.confirmations < 1:
            raise self._left(block_hash)
        first = self._rpc.ask(BlockInfo, "getblock", block_hash, 1).tx[0]
        block = self._proof([first, found.transaction.txid_hex], block_hash)
        coinbase = self._rpc.call("getrawtransaction", first, False, block_hash)
        if not isinstance(coinbase, str):
            raise self._rpc.unexpected("getrawtransaction")
        coinbase_transaction = self.parse(coinbase, first, "getrawtransaction")
        return make_evidence(block, info.height, found.transaction, coinbase_transaction), info

    def _proof(self, txids: list[str], block_hash: str) -> MerkleBlock:
        data = self._rpc.call("gettxoutproof", txids, block_hash)
        block = parse_merkle_block(self._bytes(data, "gettxoutproof"))
        if block.header.hash_hex != block_hash:
            raise VerificationError(f"{self.name}: the proof is of block {block.header.hash_hex}, not of {block_hash}")
        if sorted(displayed(match.txid) for match in block.matches) != sorted(set(txids)):
            raise VerificationError(f"{self.name}: the proof of block {block_hash} shows other transactions")
        return block

    def parse(self, text: str, txid: str, method: str) -> Transaction:
        """Read a transaction that the node gave, and check that it is the one asked for.

        Raises:
            TransportError: it is not.
        """
        try:
            transaction = parse_transaction(bytes.fromhex(text), what=f"{self.name}: {method}")
        except (FormatError, ValueError):
            transaction = None
        if transaction is None or transaction.txid_hex != txid:
            raise self._rpc.unexpected(method)
        return transaction

    def parse_signed(self, text: str, planned: Transaction) -> Transaction:
        """Read a signed transaction, and check that it spends and pays what was planned.

        Raises:
            TransportError: it does not.
        """
        try:
            transaction = parse_transaction(bytes.fromhex(text), what=f"{self.name}: finalizepsbt")
        except (FormatError, ValueError):
            transaction = planned
        same = [(each.outpoint, each.sequence) for each in planned.inputs]
        if transaction is planned or same != [(each.outpoint, each.sequence) for each in transaction.inputs]:
            raise self._rpc.unexpected("finalizepsbt")
        pays = [[(each.value_sat, each.script) for each in one.outputs] for one in (planned, transaction)]
        if pays[0] != pays[1]:
            raise self._rpc.unexpected("finalizepsbt")
        return transaction

    def _parse_header(self, text: Any) -> Header:
        try:
            return parse_header(self._bytes(text, "getblockheader"))
        except FormatError:
            raise self._rpc.unexpected("getblockheader") from None

    def _bytes(self, text: Any, method: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except (TypeError, ValueError):
            raise self._rpc.unexpected(method) from None

    def _left(self, block_hash: str) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{self.name}: block {block_hash} has just left the chain", hint="look again", retryable=True
        )
