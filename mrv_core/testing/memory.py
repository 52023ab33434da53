# SPDX-License-Identifier: MIT
"""The driver `memory`: a real driver for `MemoryChain`, with failures that a test scripts."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from pydantic import Field

from mrv_core.canonical import to_json_value
from mrv_core.driver import Capabilities, DriverContext, NetworkSettings
from mrv_core.errors import (
    AnchorConflictError,
    AnchorNotFoundError,
    BackendError,
    BackendUnavailableError,
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
    utc_now,
)
from mrv_core.testing.blocks import Block, ChainAnchor, Payload, reference_of
from mrv_core.testing.chain import Clock, MemoryChain
from mrv_core.testing.evidence import MemoryEvidence, from_hex

__all__ = ["Fault", "MemoryChain", "MemoryDriver", "MemorySettings"]

MAX_PAYLOAD: Final = 4096
"""Bytes of one anchor, so that a caller meets a network with a limit."""

Method: TypeAlias = Literal[
    "prepare",
    "submit",
    "lookup",
    "upgrade",
    "verify",
    "status",
    "find",
    "replace",
    "are_new",
    "prepare_many",
    "submit_many",
]
_Result = TypeVar(
    "_Result",
    Prepared,
    Receipt,
    VerifiedAnchor,
    DriverStatus,
    Receipt | None,
    Prepared | None,
    list[bool],
    list[Prepared],
    list[Receipt | None],
)


class Fault(StrEnum):
    """What can be scripted to happen to one call.

    UNAVAILABLE: retryable error before anything is done. REJECTED: final refusal before anything is done.
    LOST_REPLY: everything is done, then a retryable error. HANG: nothing is done until `MemoryDriver.released` is set.
    LIE: everything is done, but the answer speaks of another commitment.
    """

    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    LOST_REPLY = "lost_reply"
    HANG = "hang"
    LIE = "lie"


class MemorySettings(NetworkSettings):
    """Settings of a network with the driver `memory`.

    Attributes:
        instant_mining: Whether every submission is mined at once, in a block of its own.
        finality_depth: Confirmations from which an anchor is final.
        attests_time: Whether block times are shown; off, the network shows order and content only.
        replaces: Whether the driver outbids its own anchors that wait, or are refused, for paying too little.
        searches: Whether the driver finds its own anchors by their commitment.
        pipelines: Whether the driver prepares and sends many anchors in one call.
        sender: Who pays: the driver finds its own anchors only.
        fee: What an anchor pays, or more where the chain asks for more.
        max_fee: Most that is ever paid.
        sequential: Whether slots are numbered by the chain, as the nonces of an account, instead of drawn at random,
            as the coins of a wallet. Two anchors prepared one after the other, without sending, then share a slot.
        fail: For each method the faults of its next calls, first call first, counted anew in each process.
    """

    instant_mining: bool = True
    finality_depth: int = Field(default=1, ge=1)
    attests_time: bool = True
    replaces: bool = False
    searches: bool = False
    pipelines: bool = False
    sender: str = "us"
    fee: int = Field(default=1, ge=0)
    max_fee: int = Field(default=1000, ge=0)
    sequential: bool = False
    fail: dict[Method, tuple[Fault, ...]] = Field(default={})


class MemoryDriver:
    """An `AnchorDriver` whose network is a `MemoryChain` in the context's folder.

    Args:
        context: As for every driver; `settings` is a `MemorySettings`.
        clock: The chain's clock.

    Attributes:
        chain: The network, to mine, reorganise and count.
        released: Set it to let calls go on that `Fault.HANG` holds; `close` sets it too.
    """

    name: ClassVar[str] = "memory"

    def __init__(self, context: DriverContext, *, clock: Clock = utc_now) -> None:
        settings: MemorySettings = context.settings
        self.chain = MemoryChain(context.store_dir, context.network, clock)
        self.capabilities = Capabilities(
            attests_time=settings.attests_time,
            embedded=True,
            mines_later=not settings.instant_mining,
            replaces=settings.replaces,
            searches=settings.searches,
            pipelines=settings.pipelines,
        )
        self.released = threading.Event()
        self._network = context.network
        self._settings = settings
        self._script: dict[str, deque[Fault | Exception]] = {}
        self._script_lock = threading.Lock()
        for method, faults in settings.fail.items():
            self.script(method, *faults)

    def script(self, method: Method, *faults: Fault | Exception) -> None:
        """Add to what happens to the next calls of a method, one fault a call; an exception is raised at once."""
        with self._script_lock:
            self._script.setdefault(method, deque()).extend(faults)

    def prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        """Build the payload. See `AnchorDriver`; metadata that makes it too long is a `FormatError`."""
        return self._perform("prepare", lambda: self._prepare(commitment, metadata))

    def submit(self, prepared: Prepared) -> Receipt:
        """Put the payload into the mempool once, however often it comes. See `AnchorDriver`."""
        return self._perform("submit", lambda: self._submit(prepared))

    def lookup(self, reference: str) -> Receipt:
        """Find an anchor in the active chain or the mempool. See `AnchorDriver`."""
        return self._perform("lookup", lambda: self._receipt(self.chain.find(reference)))

    def upgrade(self, receipt: Receipt) -> Receipt:
        """Look again; after a reorg a receipt is PENDING again, or not found. See `AnchorDriver`."""
        return self._perform("upgrade", lambda: self._upgrade(receipt))

    def replace(self, prepared: Prepared, receipt: Receipt | None) -> Prepared | None:
        """Pay what the chain asks for, where that is more and a block has passed us by. See `ReplacingDriver`."""
        return self._perform("replace", lambda: self._replace(prepared, receipt))

    def find(self, commitment: Digest, metadata: Metadata) -> Receipt | None:
        """Search the active chain and the mempool for our own anchor. See `SearchingDriver`."""
        return self._perform("find", lambda: self._search(commitment))

    def are_new(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[bool]:
        """Search the chain for each. See `PipeliningDriver`."""
        return self._perform("are_new", lambda: [self._search(commitment) is None for commitment, _ in anchors])

    def prepare_many(self, anchors: Sequence[tuple[Digest, Metadata]]) -> list[Prepared]:
        """Build all payloads. See `PipeliningDriver`."""
        return self._perform("prepare_many", lambda: [self._prepare(*anchor) for anchor in anchors])

    def submit_many(self, prepared: Sequence[Prepared]) -> list[Receipt | None]:
        """Put all payloads into the mempool; what it refuses is None. See `PipeliningDriver`."""
        return self._perform("submit_many", lambda: [self._submit_if_taken(item) for item in prepared])

    def verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        """Recompute the way from commitment to block hash and ask the chain for that block. See `AnchorDriver`."""
        return self._perform("verify", lambda: self._verify(receipt, commitment))

    def status(self) -> DriverStatus:
        """Say that the network is ready, unless a fault is scripted. See `AnchorDriver`."""
        try:
            return self._perform("status", lambda: self._status(ready=True, detail="a chain for tests, in one file"))
        except BackendError as error:
            return self._status(ready=False, detail=error.message)

    def close(self) -> None:
        """Let go of calls that hang; there is nothing else to release."""
        self.released.set()

    def _perform(self, method: Method, action: Callable[[], _Result]) -> _Result:
        with self._script_lock:
            faults = self._script.get(method)
            fault = faults.popleft() if faults else None
        if isinstance(fault, Exception):
            raise fault
        if fault is Fault.UNAVAILABLE:
            raise BackendUnavailableError(f"{self._network} is unavailable, as scripted", retryable=True)
        if fault is Fault.REJECTED:
            raise SubmissionRejectedError(f"{self._network} refused the call, as scripted")
        if fault is Fault.HANG:
            self.released.wait()
        result = action()
        if fault is Fault.LOST_REPLY:
            raise BackendUnavailableError(f"{self._network} lost its reply, as scripted", retryable=True)
        return _about_another_commitment(result) if fault is Fault.LIE else result

    def _prepare(self, commitment: Digest, metadata: Metadata) -> Prepared:
        facts = {key: to_json_value(value) for key, value in metadata.items()}
        return self._build(
            Payload(
                commitment=commitment,
                metadata=facts,
                sender=self._settings.sender,
                slot=str(self.chain.slots_used()) if self._settings.sequential else secrets.token_hex(8),
                fee=min(max(self._settings.fee, self._fee_asked()), self._settings.max_fee),
            )
        )

    def _build(self, content: Payload) -> Prepared:
        payload = content.to_bytes()
        if len(payload) > MAX_PAYLOAD:
            raise FormatError(
                f"{self._network}: the anchor has {len(payload)} bytes, more than the {MAX_PAYLOAD} allowed",
                hint="send less metadata",
            )
        return Prepared(
            network=self._network,
            commitment=content.commitment,
            reference=reference_of(payload),
            payload_hex=payload.hex(),
        )

    def _fee_asked(self) -> int:
        fees = self.chain.fees()
        return max(fees.mining, fees.relaying)

    def _submit(self, prepared: Prepared) -> Receipt:
        payload = from_hex(prepared.payload_hex)
        if reference_of(payload) != prepared.reference:
            raise FormatError(f"{self._network}: the prepared bytes are not those of {prepared.reference[:80]!r}")
        try:
            reference = self.chain.take(payload, mine=self._settings.instant_mining)
        except SubmissionRejectedError:
            self._check_slot(prepared.reference, Payload.from_bytes(payload, what="the anchor's payload").slot)
            raise
        return self._receipt(self.chain.find(reference))

    def _submit_if_taken(self, prepared: Prepared) -> Receipt | None:
        try:
            return self._submit(prepared)
        except (SubmissionRejectedError, AnchorConflictError):
            return None

    def _upgrade(self, receipt: Receipt) -> Receipt:
        try:
            return self._receipt(self.chain.find(receipt.reference))
        except AnchorNotFoundError:
            self._check_slot(receipt.reference)
            raise

    def _check_slot(self, reference: str, slot: str | None = None) -> None:
        """Raise `AnchorConflictError` where another anchor has used up the slot of this one, and that is final."""
        if self.chain.outdone_for(reference, slot) >= self._settings.finality_depth:
            raise AnchorConflictError(
                f"{self._network}: something else took the place of {reference}", hint="it is anchored anew"
            )

    def _replace(self, prepared: Prepared, receipt: Receipt | None) -> Prepared | None:
        content = Payload.from_bytes(from_hex(prepared.payload_hex), what="the anchor's payload")
        if receipt is not None and not self._has_waited(prepared.reference):
            return None
        fee = min(self._fee_asked(), self._settings.max_fee)
        return self._build(content.model_copy(update={"fee": fee})) if fee > content.fee else None

    def _has_waited(self, reference: str) -> bool:
        """Tell whether an anchor is in the mempool, and a block was mined without it."""
        try:
            return self.chain.find(reference).waited > 0
        except AnchorNotFoundError:
            return False

    def _search(self, commitment: Digest) -> Receipt | None:
        if not self.chain.path.exists():
            return None
        found = self.chain.search(commitment, self._settings.sender)
        return None if found is None else self._receipt(found)

    def _receipt(self, anchor: ChainAnchor) -> Receipt:
        block = anchor.block
        return Receipt(
            network=self._network,
            driver=self.name,
            network_id=self.chain.network_id,
            embedded=True,
            commitment=Payload.from_bytes(anchor.payload, what="the anchor's payload").commitment,
            state=self._state(anchor.confirmations),
            reference=anchor.reference,
            submitted_at=datetime.fromtimestamp(anchor.submitted_at, UTC),
            block_time=self._block_time(block),
            evidence=MemoryEvidence.of(anchor, block, self.chain.network_id).to_json() if block else {},
        )

    def _state(self, confirmations: int) -> ReceiptState:
        if not confirmations:
            return ReceiptState.PENDING
        return ReceiptState.FINAL if confirmations >= self._settings.finality_depth else ReceiptState.INCLUDED

    def _block_time(self, block: Block | None) -> datetime | None:
        if block is None or not self._settings.attests_time:
            return None
        return datetime.fromtimestamp(block.time, UTC)

    def _verify(self, receipt: Receipt, commitment: Digest) -> VerifiedAnchor:
        expected = (self.name, self.chain.network_id, True, commitment)
        if (receipt.driver, receipt.network_id, receipt.embedded, receipt.commitment) != expected:
            raise VerificationError(f"receipt is not for {commitment} on {self.chain.network_id} by {self.name}")
        if receipt.evidence:
            return self._verify_evidence(receipt)
        if receipt.state is not ReceiptState.PENDING or receipt.block_time is not None:
            raise VerificationError("receipt claims to be in a block, without evidence")
        found = self._receipt(self.chain.find(receipt.reference))
        if found.evidence:
            return self._verify(found, commitment)
        if found.commitment != commitment:
            raise VerificationError(f"{receipt.reference[:80]} commits to {found.commitment}")
        return self._verdict(found, block=None, confirmations=0)

    def _verify_evidence(self, receipt: Receipt) -> VerifiedAnchor:
        try:
            evidence = MemoryEvidence.from_json(receipt.evidence, what="evidence")
            payload = Payload.from_bytes(from_hex(evidence.payload), what="payload in evidence")
            block = evidence.block(self.chain.network_id)
        except FormatError as error:
            raise VerificationError(f"malformed evidence: {error.message}") from error
        if reference_of(from_hex(evidence.payload)) != receipt.reference:
            raise VerificationError("payload in evidence has another reference than the receipt")
        if payload.commitment != receipt.commitment:
            raise VerificationError(f"payload in evidence commits to {payload.commitment}, not {receipt.commitment}")
        if receipt.block_time != self._block_time(block):
            raise VerificationError("receipt claims another time than its block")
        confirmations = self.chain.confirmations(block.number, block.hash(self.chain.network_id))
        if not confirmations:
            raise AnchorNotFoundError(
                f"block {block.number} of the receipt is not in the active chain of {self.chain.network_id}",
                hint="a reorg may have moved the anchor; upgrade the receipt",
            )
        return self._verdict(receipt, block, confirmations)

    def _verdict(self, receipt: Receipt, block: Block | None, confirmations: int) -> VerifiedAnchor:
        return VerifiedAnchor(
            network=self._network,
            network_id=self.chain.network_id,
            reference=receipt.reference,
            commitment=receipt.commitment,
            state=self._state(confirmations),
            block_time=self._block_time(block),
            confirmations=confirmations,
            facts={} if block is None else {"block_number": block.number},
            trusts=("The chain is a file of this machine: whoever can write it can rewrite it and its times.",),
        )

    def _status(self, *, ready: bool, detail: str) -> DriverStatus:
        return DriverStatus(
            network=self._network,
            driver=self.name,
            network_id=self.chain.network_id,
            embedded=True,
            ready=ready,
            detail=detail,
        )


def _about_another_commitment(result: Any) -> Any:
    if isinstance(result, list):
        return [_about_another_commitment(item) for item in result]
    if result is None or isinstance(result, DriverStatus | bool):
        return result
    other = Digest("sha256", sha256(str(result.commitment).encode()).digest())
    return result.model_copy(update={"commitment": other})
