# SPDX-License-Identifier: MIT
"""The chain inside this folder: read straight from its file, written through an EVM that is loaded when needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mrv_backends_eth.chain import EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT, Found, Sighting, SignedTransaction
from mrv_backends_eth.contract import label
from mrv_backends_eth.evidence import EthereumEvidence, ProvenAnchor, verify_evidence
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.libraries import loading
from mrv_backends_eth.settings import EthereumSettings
from mrv_backends_eth.store import ChainReader, DamagedStoreError, is_begun, reading, writing
from mrv_core.driver import Capabilities, Deployment, DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    ConfigurationError,
    MrvError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import Metadata, Receipt, ReceiptState, format_time

if TYPE_CHECKING:
    from mrv_backends_eth.evm import EmbeddedEvm

CHAIN_ID: Final = EMBEDDED_CHAIN_ID
CONTRACT: Final = EMBEDDED_CONTRACT

_TRUST: Final = (
    "the chain is embedded: this folder alone keeps it, whoever can write here can rewrite it, block times included, "
    "so it proves nothing to others"
)
_LIBRARIES: Final = ("eth_tester", "eth", "web3")


class EmbeddedChain:
    """The `Chain` in one SQLite file. Nothing stays open between two calls.

    Args:
        path: The file; made by the first `sign`.
        gas_limit: Most gas that one anchor may use.
        timeout_s: Longest wait for another process or thread that is writing.
    """

    capabilities = Capabilities(attests_time=True, embedded=True)

    def __init__(self, path: Path, *, gas_limit: int, timeout_s: float) -> None:
        self._path = path
        self._gas_limit = gas_limit
        self._timeout_s = timeout_s

    @classmethod
    def configured(cls, settings: EthereumSettings, context: DriverContext) -> EmbeddedChain:
        """Return the chain that settings describe.

        Raises:
            ConfigurationError: they name another chain id or contract than every embedded chain has, or another mode.
        """
        if settings.registry_address is not None:
            raise ConfigurationError(
                f"{context.network}.registry_address: the embedded chain has no registry",
                hint="leave registry_address out, or set rpc_url to the URL of a node",
            )
        address = settings.contract_address
        for key, configured, actual in (
            ("chain_id", settings.chain_id, CHAIN_ID),
            ("contract_address", address and address.lower(), to_hex(CONTRACT)),
            ("mode", settings.mode, "contract"),
        ):
            if configured is not None and configured != actual:
                raise ConfigurationError(
                    f"{context.network}.{key}: the embedded chain has {actual}",
                    hint=f"leave {key} out of the configuration and the environment",
                )
        path = context.store_dir / settings.path
        return cls(path, gas_limit=settings.gas_limit, timeout_s=settings.timeout)

    def network_id(self) -> str:
        """Return `eip155:` and the chain id. See `Chain`."""
        return f"eip155:{CHAIN_ID}"

    def sign(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[SignedTransaction]:
        """Build and sign calls of `storeHash`. See `Chain`."""
        calls = [(commitment.value, label(commitment, metadata)) for commitment, metadata in anchors]
        with self._evm() as (evm, _):
            return [evm.sign(root, text, self._gas_limit) for root, text in calls]

    def send(self, transaction: SignedTransaction) -> Sighting:
        """Execute a transaction, unless the chain has it already. See `Chain`."""
        with self._evm() as (evm, reader):
            if not reader.has_transaction(transaction.hash):
                evm.send(transaction.raw)
        try:
            return self.look(transaction.hash)
        except AnchorNotFoundError as error:
            raise SubmissionRejectedError(error.message) from error

    def send_many(self, transactions: Sequence[SignedTransaction]) -> list[Sighting | None]:
        """Execute them one after another. See `Chain`."""
        return [self.send(transaction) for transaction in transactions]

    def look(self, transaction_hash: bytes) -> Sighting:
        """Collect the evidence for an anchor. See `Chain`."""
        with reading(self._path, self._timeout_s) as reader:
            evidence = reader.evidence(transaction_hash, CONTRACT)
        return _sighting(verify_evidence(evidence, CONTRACT), evidence.to_json())

    def look_again(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Look as if for the first time: it costs little. See `Chain`."""
        return self.look(transaction_hash)

    def check(self, transaction_hash: bytes, receipt: Receipt) -> Sighting:
        """Recompute the anchor, then ask the file for the block. See `Chain`."""
        proven = verify_evidence(EthereumEvidence.read(receipt.evidence), CONTRACT)
        if proven.transaction_hash != transaction_hash:
            raise VerificationError(
                f"the receipt says reference {receipt.reference}, its evidence shows {to_hex(proven.transaction_hash)}"
            )
        confirmations = self._confirmations(proven.header.number, proven.header.hash)
        if not confirmations:
            raise AnchorNotFoundError(
                f"block {proven.header.number} of the receipt is not in the embedded chain",
                hint="this folder's chain is another one, or an older copy",
            )
        return _sighting(proven, receipt.evidence, confirmations)

    def replace(self, transaction: SignedTransaction, *, was_refused: bool) -> SignedTransaction | None:
        """Nothing ever waits here. See `Chain`."""
        return None

    def are_new(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[bool]:
        """Every anchor is signed by another key, so nothing can be told. See `Chain`."""
        return [False] * len(anchors)

    def find(self, commitment: Digest, metadata: Metadata) -> bytes | None:
        """Every anchor is signed by another key, so there is none to search for. See `Chain`."""
        return None

    def find_registered(self, mrv_id: str, commitment: Digest) -> Found:
        """There is no registry: an id that only this folder keeps would bind nobody. See `Chain`."""
        return Found(None, (), 0)

    def deploy(self, contract: str) -> Deployment:
        """Refuse: the first anchor deploys what is needed. See `Chain`."""
        raise ConfigurationError(
            "the embedded chain has the contract from its first block on; there is nothing to deploy",
            hint="set rpc_url to the URL of a node to deploy there",
        )

    def status(self) -> tuple[bool, str]:
        """Say how long the chain is. See `Chain`."""
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        if missing:
            return False, f"needs {', '.join(missing)}: pip install 'mrv-provenance[eth]'"
        if not is_begun(self._path):
            return True, "embedded chain; the first anchor creates it"
        with reading(self._path, self._timeout_s) as reader:
            return True, f"embedded chain in this folder, at block {reader.head().number}"

    def close(self) -> None:
        """There is nothing to release: every call opens and closes what it needs."""

    def _confirmations(self, block_number: int, block_hash: bytes) -> int:
        """Count the blocks from this one to the newest, both included; 0 where it is not in the chain."""
        with reading(self._path, self._timeout_s) as reader:
            header = reader.canonical(block_number)
            if header is None or header.hash != block_hash:
                return 0
            return reader.head().number - block_number + 1

    @contextmanager
    def _evm(self) -> Iterator[tuple[EmbeddedEvm, ChainReader]]:
        evm_class = _load_evm()
        with writing(self._path, self._timeout_s) as connection:
            try:
                yield evm_class(connection, CHAIN_ID, CONTRACT), ChainReader(connection)
            except (MrvError, DamagedStoreError, sqlite3.Error):
                raise
            except Exception as error:  # on a file that contradicts itself py-evm may raise anything
                raise DamagedStoreError(f"{type(error).__name__}: {error}") from error


def _sighting(proven: ProvenAnchor, evidence: dict[str, Any], confirmations: int | None = None) -> Sighting:
    first = datetime.fromtimestamp(proven.first.timestamp, UTC)
    return Sighting(
        commitment=proven.commitment,
        state=ReceiptState.FINAL,  # nobody else adds blocks, so none is ever replaced
        block_time=proven.header.timestamp,
        evidence=evidence,
        confirmations=confirmations,
        facts={
            "block_number": proven.header.number,
            "block_hash": to_hex(proven.header.hash),
            "contract": to_hex(CONTRACT),
            "first_recorded": format_time(first),
            "metadata": proven.label,
        },
        trusts=(_TRUST,),
    )


def _load_evm() -> type[EmbeddedEvm]:
    with loading("anchoring on Ethereum"):
        from mrv_backends_eth.evm import EmbeddedEvm

        return EmbeddedEvm
