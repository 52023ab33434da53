# SPDX-License-Identifier: MIT
"""The chain inside this folder: read straight from its file, written through an EVM that is loaded when needed."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mrv_backends_eth.chain import SignedTransaction
from mrv_backends_eth.evidence import EthereumEvidence
from mrv_backends_eth.store import ChainReader, DamagedStoreError, is_begun, reading, writing
from mrv_core.errors import ConfigurationError, MrvError

if TYPE_CHECKING:
    from mrv_backends_eth.evm import EmbeddedEvm

CHAIN_ID: Final = 131277322940537
"""eth-tester's chain id, which no public chain uses."""
CONTRACT: Final = bytes.fromhex("f2e246bb76df876cef8b38ae84130f4f55de395b")
"""Where the contract is on every embedded chain: it follows from the deployer's address and nonce 0 alone."""

_evm_lock = threading.Lock()


class EmbeddedChain:
    """The `Chain` in one SQLite file. Nothing stays open between two calls.

    Args:
        path: The file; made by the first `sign`.
        gas_limit: Most gas that one anchor may use.
        timeout_s: Longest wait for another process or thread that is writing.
    """

    chain_id: Final = CHAIN_ID
    contract: Final = CONTRACT

    def __init__(self, path: Path, *, gas_limit: int, timeout_s: float) -> None:
        self._path = path
        self._gas_limit = gas_limit
        self._timeout_s = timeout_s

    def sign(self, root: bytes, label: str) -> SignedTransaction:
        """Build and sign a call of `storeHash`. See `Chain`."""
        with self._evm() as (evm, _):
            return evm.sign(root, label, self._gas_limit)

    def send(self, transaction: SignedTransaction) -> None:
        """Execute a transaction, unless the chain has it already. See `Chain`."""
        with self._evm() as (evm, reader):
            if not reader.has_transaction(transaction.hash):
                evm.send(transaction.raw)

    def evidence(self, transaction_hash: bytes) -> EthereumEvidence:
        """Collect the evidence for an anchor. See `Chain`."""
        with reading(self._path, self._timeout_s) as reader:
            return reader.evidence(transaction_hash, self.contract)

    def confirmations(self, block_number: int, block_hash: bytes) -> int:
        """Count the blocks from this one to the newest. See `Chain`."""
        with reading(self._path, self._timeout_s) as reader:
            header = reader.canonical(block_number)
            if header is None or header.hash != block_hash:
                return 0
            return reader.head().number - block_number + 1

    def describe(self) -> str:
        """Say how long the chain is. See `Chain`."""
        if not is_begun(self._path):
            return "embedded chain; the first anchor creates it"
        with reading(self._path, self._timeout_s) as reader:
            return f"embedded chain in this folder, at block {reader.head().number}"

    @contextmanager
    def _evm(self) -> Iterator[tuple[EmbeddedEvm, ChainReader]]:
        evm_class = _load_evm()
        with writing(self._path, self._timeout_s) as connection:
            try:
                yield evm_class(connection, self.chain_id, self.contract), ChainReader(connection)
            except (MrvError, DamagedStoreError, sqlite3.Error):
                raise
            except Exception as error:  # on a file that contradicts itself py-evm may raise anything
                raise DamagedStoreError(f"{type(error).__name__}: {error}") from error


def _load_evm() -> type[EmbeddedEvm]:
    # py_ecc, imported along, sets the recursion limit to 100,000: from then on a document of deeply nested
    # brackets could end the whole process where json would have raised RecursionError.
    with _evm_lock:
        limit = sys.getrecursionlimit()
        try:
            from mrv_backends_eth.evm import EmbeddedEvm
        except ModuleNotFoundError as error:
            hint = "pip install 'mrv-provenance[eth]'"
            raise ConfigurationError(f"anchoring on Ethereum needs the package {error.name!r}", hint=hint) from error
        finally:
            sys.setrecursionlimit(limit)
        return EmbeddedEvm
