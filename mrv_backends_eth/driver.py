# SPDX-License-Identifier: MIT
"""The driver `ethereum`: anchors a commitment on an Ethereum chain, a real one or the one embedded in this folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final

from mrv_backends_eth.chain import Chain, Sighting, SignedTransaction
from mrv_backends_eth.embedded import EmbeddedChain
from mrv_backends_eth.hexadecimal import to_hex
from mrv_backends_eth.keccak import keccak256
from mrv_backends_eth.pending_evidence import is_pending
from mrv_backends_eth.settings import EthereumSettings
from mrv_core.driver import EMBEDDED, Capabilities, Deployment, DriverContext, Registered
from mrv_core.errors import FormatError, MrvError, VerificationError
from mrv_core.hashing import Digest
from mrv_core.models import DriverStatus, Metadata, Prepared, Receipt, VerifiedAnchor, utc_now

_REFERENCE = re.compile(r"0x[0-9a-f]{64}")
_CLAIMS: Final = ("format", "network", "driver", "network_id", "embedded")
"""What a receipt says of itself and is compared before anybody is asked."""


class EthereumDriver:
    """An `AnchorDriver`, and a replacing, searching, pipelining, registering and deploying one on real chains.

    Reading and verifying load neither web3 nor an EVM. Nothing is asked or opened until it is needed.

    Raises:
        ConfigurationError: the settings contradict the chain that they name.
    """

    name: ClassVar[str] = "ethereum"
    capabilities = Capabilities(attests_time=True, embedded=True)

    def __init__(self, context: DriverContext) -> None:
        self._network = context.network
        self._chain = _chain(context)
        self.capabilities = self._chain.capabilities

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Sign a transaction; the reference is its hash. See `AnchorDriver`.

        Raises:
            FormatError: a commitment or metadata that the chain does not take.
            ConfigurationError: it needs more gas than `gas_limit`, or a setting is missing.
            BackendError: the chain cannot be asked, asks too much, or would refuse it.
        """
        return self.prepare_many([(commitment, metadata)])[0]

    def prepare_many(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[Prepared]:
        """Sign transactions with one nonce after the other. See `PipeliningDriver`; raises what `prepare` raises."""
        signed = self._chain.sign(anchors)
        return [self._prepared(anchor[0], each) for anchor, each in zip(anchors, signed, strict=True)]

    def submit(self, prepared: Prepared) -> Receipt:
        """Send the transaction and look what became of it. See `AnchorDriver`."""
        # Being accepted proves nothing; what was seen says what the chain made of it.
        return self._submitted(prepared, self._chain.send(_signed(prepared)))

    def submit_many(self, prepared: Sequence[Prepared]) -> list[Receipt | None]:
        """Send transactions in a few requests. See `PipeliningDriver`."""
        seen = self._chain.send_many([_signed(each) for each in prepared])
        pairs = zip(prepared, seen, strict=True)
        return [None if sighting is None else self._submitted(each, sighting) for each, sighting in pairs]

    def are_new(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[bool]:
        """Ask the contract for our own records. See `PipeliningDriver`."""
        return self._chain.are_new(anchors)

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor by its transaction hash, `0x` and 64 lower-case digits. See `AnchorDriver`."""
        seen = self._chain.look(_hash_of(reference))
        return self._receipt(reference, seen, utc_now() if seen.block_time is None else _utc(seen.block_time))

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again. See `AnchorDriver`."""
        seen = self._chain.look_again(_hash_of(receipt.reference), receipt)
        if seen.commitment != receipt.commitment:
            raise VerificationError(f"{receipt.reference} anchors {seen.commitment}, not {receipt.commitment}")
        return self._receipt(receipt.reference, seen, receipt.submitted_at)

    def replace(self, prepared: Prepared, receipt: Receipt | None) -> Prepared | None:
        """Sign the same transaction with higher fees. See `ReplacingDriver`."""
        signed = self._chain.replace(_signed(prepared), was_refused=receipt is None)
        return None if signed is None else self._prepared(prepared.commitment, signed)

    def find(self, commitment: Digest, metadata: Metadata) -> Receipt | None:
        """Ask the contract for our own record of a commitment. See `SearchingDriver`."""
        transaction_hash = self._chain.find(commitment, metadata)
        return None if transaction_hash is None else self.lookup(to_hex(transaction_hash))

    def find_registered(self, mrv_id: str, commitment: Digest) -> Registered:
        """Ask the registry what is registered under an id. See `RegisteringDriver`."""
        found = self._chain.find_registered(mrv_id, commitment)
        receipt = None if found.transaction_hash is None else self.lookup(to_hex(found.transaction_hash))
        return Registered(receipt=receipt, others=found.others, submitters=found.submitters)

    def deploy_contract(self, contract: str = "MLProvenance") -> Deployment:
        """Deploy a contract of this project. See `DeployingDriver`."""
        return self._chain.deploy(contract)

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Recompute the receipt from its evidence, then ask the chain for the block. See `AnchorDriver`."""
        # 1. The receipt is about the commitment in question, on this network.
        if receipt.commitment != commitment:
            raise VerificationError(f"the receipt is for {receipt.commitment}, not for {commitment}")
        if not _REFERENCE.fullmatch(receipt.reference):
            raise VerificationError("the receipt's reference is no transaction hash")
        self._compare_claims(receipt)
        # 2. The evidence holds together, and the chain still has what it is about.
        seen = self._chain.check(_hash_of(receipt.reference), receipt)
        # 3. Every further claim is what was seen.
        self._compare(receipt, seen)
        return self._verified(receipt, seen)

    def status(self) -> DriverStatus:
        """Say whether the chain can be used. See `AnchorDriver`."""
        try:
            ready, detail = self._chain.status()
            network_id: str | None = self._chain.network_id()
        except MrvError as error:
            ready, detail, network_id = False, error.message, None
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=network_id,
            embedded=self.capabilities.embedded,
            ready=ready,
            detail=detail,
        )

    def close(self) -> None:
        """Close idle connections."""
        self._chain.close()

    def _prepared(self, commitment: Digest, signed: SignedTransaction) -> Prepared:
        return Prepared(
            network=self._network,
            commitment=commitment,
            reference=to_hex(signed.hash),
            payload_hex=signed.raw.hex(),
            details=dict(signed.details),
        )

    def _submitted(self, prepared: Prepared, seen: Sighting) -> Receipt:
        if seen.commitment != prepared.commitment:
            raise VerificationError(f"the prepared transaction anchors {seen.commitment}, not {prepared.commitment}")
        return self._receipt(prepared.reference, seen, utc_now())

    def _receipt(self, reference: str, seen: Sighting, submitted_at: datetime) -> Receipt:
        block_time = None if seen.block_time is None else _utc(seen.block_time)
        if self.capabilities.embedded and block_time is not None:
            submitted_at = block_time  # this machine's clock, both of them
        return Receipt(
            network=self._network,
            driver=self.name,
            network_id=self._chain.network_id(),
            embedded=self.capabilities.embedded,
            commitment=seen.commitment,
            state=seen.state,
            reference=reference,
            submitted_at=submitted_at,
            block_time=block_time,
            evidence=seen.evidence,
        )

    def _compare_claims(self, receipt: Receipt) -> None:
        known = Receipt.model_fields["format"].default
        ours = (known, self._network, self.name, self._chain.network_id(), self.capabilities.embedded)
        for claim, expected in zip(_CLAIMS, ours, strict=True):
            if getattr(receipt, claim) != expected:
                raise VerificationError(f"the receipt says {claim} {getattr(receipt, claim)}, this is {expected}")

    def _compare(self, receipt: Receipt, seen: Sighting) -> None:
        """Compare the rest; on a real chain state and time of submission are claims of a moment that has passed."""
        shown = self._receipt(receipt.reference, seen, receipt.submitted_at)
        fields = ["commitment", *(["state", "submitted_at"] if self.capabilities.embedded else [])]
        if receipt.block_time is not None or not is_pending(receipt.evidence):  # else it was not included yet
            fields.append("block_time")
        for field in fields:
            ours, theirs = getattr(shown, field), getattr(receipt, field)
            if ours != theirs:
                raise VerificationError(f"the receipt says {field} {theirs}, the chain shows {ours}")

    def _verified(self, receipt: Receipt, seen: Sighting) -> VerifiedAnchor:
        return VerifiedAnchor(
            network=self._network,
            network_id=receipt.network_id,
            reference=receipt.reference,
            commitment=receipt.commitment,
            state=seen.state,
            block_time=None if seen.block_time is None else _utc(seen.block_time),
            confirmations=seen.confirmations,
            facts=seen.facts,
            trusts=seen.trusts,
        )


def _chain(context: DriverContext) -> Chain:
    settings: EthereumSettings = context.settings
    if settings.rpc_url == EMBEDDED:
        return EmbeddedChain.configured(settings, context)
    from mrv_backends_eth.rpc_chain import RpcChain

    return RpcChain(settings, context.network)


def _signed(prepared: Prepared) -> SignedTransaction:
    try:
        raw = bytes.fromhex(prepared.payload_hex)
    except ValueError as error:
        raise FormatError("the prepared transaction is not hexadecimal") from error
    transaction = SignedTransaction(raw, keccak256(raw), prepared.details)
    if to_hex(transaction.hash) != prepared.reference:
        raise VerificationError(f"the prepared bytes are not the transaction {prepared.reference}")
    return transaction


def _hash_of(reference: str) -> bytes:
    if not _REFERENCE.fullmatch(reference):
        raise FormatError(f"{reference[:80]!r} is no transaction hash", hint="write 0x and 64 lower-case digits")
    return bytes.fromhex(reference[2:])


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
