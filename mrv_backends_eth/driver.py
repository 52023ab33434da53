# SPDX-License-Identifier: MIT
"""The driver `ethereum`: anchors a commitment in the MLProvenance contract."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import ClassVar, Final

from mrv_backends_eth.chain import Chain, SignedTransaction
from mrv_backends_eth.contract import label
from mrv_backends_eth.embedded import EmbeddedChain
from mrv_backends_eth.evidence import ProvenAnchor, parse_evidence, to_hex, verify_evidence
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import EMBEDDED, Capabilities, DriverContext
from mrv_core.errors import (
    AnchorNotFoundError,
    BackendError,
    ConfigurationError,
    FormatError,
    SubmissionRejectedError,
    VerificationError,
)
from mrv_core.hashing import Digest
from mrv_core.models import (
    DriverStatus,
    Metadata,
    Prepared,
    Receipt,
    ReceiptState,
    VerifiedAnchor,
    format_time,
)

_TRUST: Final = (
    "the chain is embedded: this folder alone keeps it, whoever can write here can rewrite it, block times included, "
    "so it proves nothing to others"
)
_LIBRARIES = ("eth_tester", "eth", "web3")
_REFERENCE = re.compile(r"0x[0-9a-f]{64}")


class EthereumDriver:
    """An `AnchorDriver` for the embedded chain. Reading and verifying load neither web3 nor an EVM.

    Raises:
        ConfigurationError: the settings ask for a chain that this version cannot reach.
    """

    name: ClassVar[str] = "ethereum"
    capabilities = Capabilities(attests_time=True, embedded=True)

    def __init__(self, context: DriverContext) -> None:
        settings: EthereumSettings = context.settings
        self._network = context.network
        self._chain = _chain(settings, context)
        self._network_id = f"eip155:{self._chain.chain_id}"

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Sign a call of `storeHash`; the reference is its transaction hash. See `AnchorDriver`.

        Raises:
            FormatError: metadata that the contract does not take.
            ConfigurationError: the call needs more gas than `gas_limit`.
        """
        transaction = self._chain.sign(commitment.value, label(commitment, metadata))
        return Prepared(
            network=self._network,
            commitment=commitment,
            reference=to_hex(transaction.hash),
            payload_hex=transaction.raw.hex(),
        )

    def submit(self, prepared: Prepared) -> Receipt:
        """Send the transaction and read back what it did. See `AnchorDriver`."""
        transaction = _signed(prepared)
        self._chain.send(transaction)
        try:
            # Being accepted proves nothing; the evidence says what the chain made of it.
            receipt = self.lookup(prepared.reference)
        except AnchorNotFoundError as error:
            raise SubmissionRejectedError(error.message) from error
        if receipt.commitment != prepared.commitment:
            raise VerificationError(f"the prepared transaction anchors {receipt.commitment}, not {prepared.commitment}")
        return receipt

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor by its transaction hash, `0x` and 64 lower-case digits. See `AnchorDriver`."""
        if not _REFERENCE.fullmatch(reference):
            raise FormatError(f"{reference[:80]!r} is no transaction hash", hint="write 0x and 64 lower-case digits")
        evidence = self._chain.evidence(bytes.fromhex(reference[2:]))
        proven = verify_evidence(evidence, self._chain.contract)
        return self._receipt(proven, evidence.to_json())

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again. See `AnchorDriver`."""
        found = self.lookup(receipt.reference)
        if found.commitment != receipt.commitment:
            raise VerificationError(f"{receipt.reference} anchors {found.commitment}, not {receipt.commitment}")
        return found

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Recompute the receipt from its evidence, then ask the chain for the block. See `AnchorDriver`."""
        # 1. The receipt is about the commitment in question.
        if receipt.commitment != commitment:
            raise VerificationError(f"the receipt is for {receipt.commitment}, not for {commitment}")
        # 2. The evidence holds together, with the contract at its own address.
        proven = verify_evidence(parse_evidence(receipt.evidence), self._chain.contract)
        # 3. Every claim is what the evidence shows.
        self._compare(receipt, self._receipt(proven, receipt.evidence))
        # 4. The chain still has the block.
        confirmations = self._chain.confirmations(proven.header.number, proven.header.hash)
        if not confirmations:
            raise AnchorNotFoundError(
                f"block {proven.header.number} of the receipt is not in the embedded chain",
                hint="this folder's chain is another one, or an older copy",
            )
        return self._verified(receipt, proven, confirmations)

    def status(self) -> DriverStatus:
        """Say whether the chain can be used. See `AnchorDriver`."""
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        if missing:
            return self._status(ready=False, detail=f"needs {', '.join(missing)}: pip install 'mrv-provenance[eth]'")
        try:
            return self._status(ready=True, detail=self._chain.describe())
        except BackendError as error:
            return self._status(ready=False, detail=error.message)

    def close(self) -> None:
        """There is nothing to release: every call opens and closes what it needs."""

    def _receipt(self, proven: ProvenAnchor, evidence: dict[str, object]) -> Receipt:
        block_time = _utc(proven.header.timestamp)
        return Receipt(
            network=self._network,
            driver=self.name,
            network_id=self._network_id,
            embedded=True,
            commitment=proven.commitment,
            state=ReceiptState.FINAL,  # nobody else adds blocks, so none is ever replaced
            reference=to_hex(proven.transaction_hash),
            submitted_at=block_time,  # this machine's clock, both of them
            block_time=block_time,
            evidence=evidence,
        )

    def _compare(self, claimed: Receipt, shown: Receipt) -> None:
        for field in type(shown).model_fields:
            ours, theirs = getattr(shown, field), getattr(claimed, field)
            if ours != theirs:
                raise VerificationError(f"the receipt says {field} {theirs}, its evidence shows {ours}")

    def _verified(self, receipt: Receipt, proven: ProvenAnchor, confirmations: int) -> VerifiedAnchor:
        return VerifiedAnchor(
            network=self._network,
            network_id=self._network_id,
            reference=receipt.reference,
            commitment=receipt.commitment,
            state=receipt.state,
            block_time=receipt.block_time,
            confirmations=confirmations,
            facts={
                "block_number": proven.header.number,
                "block_hash": to_hex(proven.header.hash),
                "contract": to_hex(self._chain.contract),
                "first_recorded": format_time(_utc(proven.first.timestamp)),
                "metadata": proven.label,
            },
            trusts=(_TRUST,),
        )

    def _status(self, *, ready: bool, detail: str) -> DriverStatus:
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=self._network_id,
            embedded=True,
            ready=ready,
            detail=detail,
        )


def _chain(settings: EthereumSettings, context: DriverContext) -> Chain:
    if settings.rpc_url != EMBEDDED:
        raise ConfigurationError(
            f"{context.network}.rpc_url: this version anchors Ethereum on the embedded chain only",
            hint=f'set rpc_url to "{EMBEDDED}"',
        )
    chain = EmbeddedChain(context.store_dir / settings.path, gas_limit=settings.gas_limit, timeout_s=settings.timeout)
    _refuse_other("chain_id", settings.chain_id, chain.chain_id, context.network)
    address = settings.contract_address
    _refuse_other("contract_address", address and address.lower(), to_hex(chain.contract), context.network)
    return chain


def _refuse_other(key: str, configured: object, actual: object, network: str) -> None:
    if configured is not None and configured != actual:
        raise ConfigurationError(
            f"{network}.{key}: the embedded chain has {actual}",
            hint=f"leave {key} out of the configuration and the environment",
        )


def _signed(prepared: Prepared) -> SignedTransaction:
    try:
        raw = bytes.fromhex(prepared.payload_hex)
    except ValueError as error:
        raise FormatError("the prepared transaction is not hexadecimal") from error
    transaction = SignedTransaction(raw, keccak256(raw))
    if to_hex(transaction.hash) != prepared.reference:
        raise VerificationError(f"the prepared bytes are not the transaction {prepared.reference}")
    return transaction


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
