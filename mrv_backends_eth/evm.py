# SPDX-License-Identifier: MIT
"""The EVM side of the embedded chain: eth-tester and py-evm on top of our SQLite table, spoken to through web3.

Importing this module costs most of a second and raises the interpreter's recursion limit, so only
`mrv_backends_eth.embedded` imports it, when something has to be written.

The chain differs from Ethereum in two points, both because nobody competes for its blocks. Fees are zero, so
that every anchor can be signed by a key of its own: no two anchors, of one process or of many, ever wait for each
other's nonce, and keys guard nothing. And a block may have its parent's time, so that block times never run
ahead of the clock when several anchors fall into one second.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.db.backends.base import BaseDB
from eth.vm.forks.prague import PragueVM
from eth_account import Account
from eth_tester import EthereumTester
from eth_tester.backends.pyevm.main import PyEVMBackend, get_default_genesis_params
from eth_tester.exceptions import TransactionFailed
from eth_utils.exceptions import ValidationError
from web3 import EthereumTesterProvider, Web3

from mrv_backends_eth.chain import SignedTransaction
from mrv_backends_eth.contract import artifact
from mrv_backends_eth.store import HEAD_KEY, DamagedStoreError
from mrv_core.errors import ConfigurationError, SubmissionRejectedError

_DEPLOYER_KEY: Final = (1).to_bytes(32, "big")
"""The first of eth-tester's well-known keys. It deploys the contract and owns nothing, here or anywhere."""
_DEPLOYMENT_GAS: Final = 3_000_000
_NO_FEES: Final = {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}


class EmbeddedEvm:
    """A chain with the contract on it, open inside one write transaction of its file.

    Args:
        connection: From `store.writing`; the caller commits.
        chain_id: EIP-155 chain id.
        contract: Address the contract has or gets, 20 bytes.
    """

    def __init__(self, connection: sqlite3.Connection, chain_id: int, contract: bytes) -> None:
        backend = _Backend(_open(connection, chain_id))
        self._web3 = Web3(EthereumTesterProvider(EthereumTester(backend)))
        self._address = Web3.to_checksum_address(contract)
        self._contract = self._web3.eth.contract(address=self._address, abi=artifact()["abi"])
        self._ensure_contract()

    def sign(self, root: bytes, label: str, gas_limit: int) -> SignedTransaction:
        """Build a call of `storeHash` and sign it with a key that is then forgotten. See `Chain.sign`."""
        account = Account.create()
        call = self._contract.functions.storeHash(root, label)
        try:
            needed = call.estimate_gas({"from": account.address, **_NO_FEES})
        except TransactionFailed as error:
            raise SubmissionRejectedError(f"the contract would refuse {root.hex()}: {error}") from error
        if needed > gas_limit:
            raise ConfigurationError(
                f"anchoring needs {needed} gas, gas_limit allows {gas_limit}",
                hint=f"raise gas_limit, for instance to {max(500_000, 2 * needed)}",
            )
        fields = {"from": account.address, "nonce": 0, "gas": gas_limit, "chainId": self._web3.eth.chain_id}
        signed = account.sign_transaction(call.build_transaction({**fields, **_NO_FEES}))
        return SignedTransaction(raw=bytes(signed.raw_transaction), hash=bytes(signed.hash))

    def send(self, raw: bytes) -> None:
        """Execute a signed transaction in a block of its own. See `Chain.send`."""
        try:
            self._web3.eth.send_raw_transaction(raw)
        except ValidationError as error:
            raise SubmissionRejectedError(f"the embedded chain refuses the transaction: {error}") from error

    def _ensure_contract(self) -> None:
        if not self._web3.eth.get_code(self._address):
            self._deploy()
        if self._web3.eth.get_code(self._address).to_0x_hex() != artifact()["deployedBytecode"]:
            raise DamagedStoreError(f"the code at {self._address} is not the MLProvenance contract")

    def _deploy(self) -> None:
        deployer = Account.from_key(_DEPLOYER_KEY)
        constructor = self._web3.eth.contract(abi=artifact()["abi"], bytecode=artifact()["bytecode"]).constructor()
        fields = {"from": deployer.address, "nonce": 0, "gas": _DEPLOYMENT_GAS, "chainId": self._web3.eth.chain_id}
        transaction = constructor.build_transaction({**fields, **_NO_FEES})
        self.send(bytes(deployer.sign_transaction(transaction).raw_transaction))


class _Table(BaseDB):  # type: ignore[misc]
    """The SQLite table as py-evm's database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getitem__(self, key: bytes) -> bytes:
        row = self._connection.execute("SELECT value FROM chain WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: bytes = row[0]
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO chain VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        self._connection.execute("DELETE FROM chain WHERE key = ?", (key,))

    def _exists(self, key: bytes) -> bool:
        return self._connection.execute("SELECT 1 FROM chain WHERE key = ?", (key,)).fetchone() is not None


class _Vm(PragueVM):  # type: ignore[misc]
    """Prague, with the rule "later than the parent" relaxed to "not earlier"."""

    @classmethod
    def validate_header(cls, header: Any, parent_header: Any) -> None:
        if parent_header is not None and header.timestamp == parent_header.timestamp:
            parent_header = parent_header.copy(timestamp=header.timestamp - 1)
        super().validate_header(header, parent_header)


class _Chain(MiningChain):  # type: ignore[misc]
    vm_configuration = ((0, _Vm),)

    def create_header_from_parent(self, parent_header: Any, **fields: Any) -> Any:
        now = max(int(time.time()), parent_header.timestamp)
        fields.update(gas_limit=parent_header.gas_limit, timestamp=now)
        return super().create_header_from_parent(parent_header, **fields)

    def get_transaction_builder(self) -> Any:
        return self.get_vm().get_transaction_builder()  # eth-tester asks the chain for it


class _Backend(PyEVMBackend):  # type: ignore[misc]
    """eth-tester's backend on a chain that exists already."""

    def __init__(self, chain: Any) -> None:
        self._existing = chain
        super().__init__()

    def reset_to_genesis(self, *_: Any, **__: Any) -> None:
        self.account_keys, self.chain = (), self._existing


def _open(connection: sqlite3.Connection, chain_id: int) -> Any:
    kind: Any = type("_EmbeddedChain", (_Chain,), {"chain_id": chain_id})
    table = _Table(connection)
    if table.exists(HEAD_KEY):
        return kind(AtomicDB(table))
    if connection.execute("SELECT count(*) FROM chain").fetchone() != (0,):
        raise DamagedStoreError("it has no newest block")
    return kind.from_genesis(AtomicDB(table), {**get_default_genesis_params(), "base_fee_per_gas": 0}, {})
