# SPDX-License-Identifier: MIT
"""What crosses the boundary between core and drivers, and what is written to files: frozen, strict, versioned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, ValidationInfo

from mrv_core.canonical import JsonValue, canonical_bytes, parse_json, restore_doubles
from mrv_core.errors import FormatError
from mrv_core.hashing import Digest

Metadata: TypeAlias = Mapping[str, JsonValue]
"""Public facts sent along with a commitment: run id and phase, never content. Everyone can read them for ever."""

NO_METADATA: Metadata = MappingProxyType({})


def _parse_digest(value: object) -> object:
    return Digest.parse(value) if isinstance(value, str) else value


def _parse_time(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = datetime.fromisoformat(value)
        utc = parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the year 1 of a zone may be before the first year
        raise ValueError("not an RFC 3339 time") from error
    if parsed.tzinfo is None:
        raise ValueError("a time needs its zone, for instance 2026-01-11T08:00:00Z")
    return utc


def _read_back(value: object, info: ValidationInfo) -> object:
    return restore_doubles(value) if info.mode == "json" else value


def format_time(value: datetime) -> str:
    """Write a UTC time as RFC 3339 with `Z`, without a fraction where it is zero."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def utc_now() -> datetime:
    """Return the local clock's time in UTC, whole seconds: a claim of this machine, not evidence."""
    return datetime.now(UTC).replace(microsecond=0)


DigestField = Annotated[
    Digest, BeforeValidator(_parse_digest), PlainSerializer(str, return_type=str), Field(json_schema_extra={})
]
TimeField = Annotated[datetime, BeforeValidator(_parse_time), PlainSerializer(format_time, return_type=str)]
Json = Annotated[Any, BeforeValidator(_read_back), Field(description="Any JSON value")]


class Model(BaseModel):
    """Base of every stored or exchanged model: immutable, no coercion, no unknown keys, canonical bytes."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        ser_json_inf_nan="constants",  # pydantic would write null; canonical_bytes refuses them by name
    )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value of the model."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 bytes of the model, as they are written to files."""
        return canonical_bytes(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes, *, what: str) -> Self:
        """Parse strictly from bytes.

        Raises:
            FormatError: not strict JSON, or not this model; the message names `what` and the field.
        """
        return cls.from_json(parse_json(data, what=what), what=what)

    @classmethod
    def from_json(cls, value: Any, *, what: str) -> Self:
        """Validate an already parsed JSON value, which must be exactly what `to_json` would write.

        Raises:
            FormatError: not this model, or a field that was left out or written otherwise; the message names it.
        """
        return cls.from_canonical(value, canonical_bytes(value), what=what)

    @classmethod
    def from_canonical(cls, value: Any, data: bytes, *, what: str) -> Self:
        """Do what `from_json` does, where the canonical bytes of the value are known. Raises what it raises."""
        try:
            model = cls.model_validate_json(data)
        except ValidationError as error:
            raise FormatError(f"{what}: {describe_validation_error(error)}") from error
        written = model.to_json()
        if written != value:
            different = sorted(key for key in written if key not in value or written[key] != value[key])
            raise FormatError(f"{what}: {', '.join(different)}: missing, or not in its one written form")
        return model


def describe_validation_error(error: ValidationError) -> str:
    """Return one line naming the first wrong field and why; never the value, which may be a secret."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    parts = (str(part)[:80] for part in first["loc"])
    place = ".".join(part if part.isprintable() else ascii(part) for part in parts) or "the document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {first['msg'].removeprefix('Value error, ')}{more}"


class ReceiptState(StrEnum):
    """How far an anchor has come on its network."""

    PENDING = "PENDING"
    INCLUDED = "INCLUDED"
    FINAL = "FINAL"


class Prepared(Model):
    """An anchor that is built and signed but not sent. Core journals it before `submit` sees it.

    Attributes:
        network: Configured name of the network.
        commitment: What is anchored.
        reference: Transaction id or CID, known before anything is sent.
        payload_hex: The exact bytes that `submit` sends, hexadecimal; sending them twice anchors once.
        details: Whatever else the driver needs to submit them again after a crash.
    """

    network: str
    commitment: DigestField
    reference: str
    payload_hex: str
    details: dict[str, Json] = {}


class Receipt(Model):
    """What a driver returned for one anchor on one network.

    Attributes:
        format: Version of this format.
        network: Configured name of the network.
        driver: Name of the driver that made it.
        network_id: Which network it really is, as its own rules name it: `eip155:1`, a log's origin, `ipfs`.
        embedded: True where the network runs inside this process or folder and nobody else keeps it.
        commitment: What is anchored.
        state: How far the anchor has come.
        reference: Transaction id, CID or leaf reference; enough for `lookup`.
        submitted_at: This machine's clock when the network took it: a claim.
        block_time: The network's own time of inclusion, where it attests one.
        evidence: The driver's own proof; core stores it and never reads it.
    """

    format: Literal["mrv-receipt/1"] = "mrv-receipt/1"
    network: str
    driver: str
    network_id: str
    embedded: bool
    commitment: DigestField
    state: ReceiptState
    reference: str
    submitted_at: TimeField
    block_time: TimeField | None = None
    evidence: dict[str, Json] = {}


class VerifiedAnchor(Model):
    """Our verdict after checking a receipt: it exists only where the checks passed.

    Attributes:
        network, network_id, reference, commitment: As checked, not as claimed.
        state: How far the anchor has come *now*.
        block_time: Time attested by the network, if it attests any.
        confirmations: Blocks on top, counting the including one, where the network has blocks.
        facts: Further checked facts for people to read: block number, contract address, log size.
        trusts: What remains to be trusted, one sentence each.
    """

    network: str
    network_id: str
    reference: str
    commitment: DigestField
    state: ReceiptState
    block_time: TimeField | None = None
    confirmations: int | None = None
    facts: dict[str, Json] = {}
    trusts: tuple[str, ...] = ()


class ExaminedReceipt(Model):
    """What a receipt shows by itself, with nobody asked: it exists only where nothing in the receipt is wrong.

    Attributes:
        network_id, reference, commitment: See `Receipt`; what cannot be recomputed is named in `remaining`.
        state: PENDING where the receipt has no evidence yet, else as the receipt says.
        block_hash: Block that the evidence leads to, 64 hexadecimal digits as explorers show them, where there is one.
        block_time: Time that this block attests, where it attests one.
        facts: Further recomputed facts for people to read.
        remaining: What still has to be asked or trusted, one sentence each with the value to compare; empty where what
            the verifier knew already suffices.
        trusts: What was taken from the verifier, one sentence each.
    """

    network_id: str
    reference: str
    commitment: DigestField
    state: ReceiptState
    block_hash: str | None = None
    block_time: TimeField | None = None
    facts: dict[str, Json] = {}
    remaining: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()


class DriverStatus(Model):
    """Whether a network can be used now.

    Attributes:
        network: Configured name.
        driver: Name of the driver.
        network_id: Which network it is, where that is known.
        embedded: See `Receipt`.
        ready: Whether anchoring could be tried now.
        detail: One line for people.
    """

    network: str
    driver: str
    network_id: str | None
    embedded: bool
    ready: bool
    detail: str


class Verdict(StrEnum):
    """Outcome of a verification; the last one exists for a whole report only."""

    VALID = "VALID"
    PENDING = "PENDING"
    NOT_FOUND = "NOT_FOUND"
    UNREACHABLE = "UNREACHABLE"
    TAMPERED = "TAMPERED"
    DISAGREE = "DISAGREE"
