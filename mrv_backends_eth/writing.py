# SPDX-License-Identifier: MIT
"""The write path's libraries: web3 encodes calls of contracts, eth_account signs. Loaded when first needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from mrv_backends_eth.chain import SignedTransaction
from mrv_backends_eth.contract import artifact
from mrv_backends_eth.libraries import loading
from mrv_core.transport import JsonRpcClient


class Writer:
    """Encodes and signs; nothing of it asks a node. With coincurve installed, signing is ten times faster.

    Args:
        client: Where web3 would ask, if it had to.

    Raises:
        ConfigurationError: the extra `eth` is not installed.
    """

    def __init__(self, client: JsonRpcClient) -> None:
        with loading("anchoring on Ethereum"):
            from eth_account import Account
            from web3 import Web3

            from mrv_backends_eth.web3_provider import TransportProvider
        # No middleware: none of it shall ask, repeat or keep anything.
        self.web3 = Web3(TransportProvider(client), middleware=[])
        self._provenance = self.web3.eth.contract(abi=artifact()["abi"])
        self._registry = self.web3.eth.contract(abi=artifact("MRVRegistry")["abi"])
        # A run has few labels, and web3 takes a millisecond for each call that it encodes.
        self._template = lru_cache(maxsize=64)(self._encode)
        self._signer = lru_cache(maxsize=1)(Account.from_key)  # which computes the public key each time

    def store_hash(self, root: bytes, text: str) -> bytes:
        """Return the data of a call `storeHash(root, text)`."""
        data = self._template(text)
        return data[:4] + root + data[36:]

    def _encode(self, text: str) -> bytes:
        """Return the data of a call with a zero root, whose place is behind the four bytes of the selector."""
        return bytes.fromhex(self._provenance.encode_abi("storeHash", [bytes(32), text]).removeprefix("0x"))

    def register_mrv(self, mrv_id: str, value: bytes) -> bytes:
        """Return the data of a call `registerMRV(mrv_id, value)`."""
        return bytes.fromhex(self._registry.encode_abi("registerMRV", [mrv_id, value]).removeprefix("0x"))

    def creation(self, compiled: Mapping[str, Any], arguments: Sequence[Any]) -> bytes:
        """Return the data of a transaction that creates a contract."""
        factory = self.web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
        return bytes.fromhex(str(factory.constructor(*arguments).data_in_transaction).removeprefix("0x"))

    def sign(self, key: bytes, fields: Mapping[str, Any], details: Mapping[str, Any]) -> SignedTransaction:
        """Sign a transaction.

        Args:
            key: Private key, 32 bytes.
            fields: Everything that the transaction is to have; addresses and data as bytes.
            details: See `SignedTransaction`.
        """
        signed = self._signer(key).sign_transaction(dict(fields))
        return SignedTransaction(bytes(signed.raw_transaction), bytes(signed.hash), details)
